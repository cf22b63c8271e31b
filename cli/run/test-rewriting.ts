/** What `steno run` makes of an environment, without starting anything: each database gets the next port, and the token is `TOKEN`. */
import { childEnvironment, type Redirected } from './child-environment.ts'
import { findMentions, type Environment } from './mentions.ts'
import { keyOf, upstreamOf, type Upstream } from './mode.ts'

const firstPort = 7001

export type Rewriting = {
  readonly child: Readonly<Record<string, string>>
  /** One per database, in the order of their ports. */
  readonly upstreams: readonly Upstream[]
}

export function rewrite(environment: Environment): Rewriting {
  const ports = new Map<string, number>()
  const upstreams: Upstream[] = []
  const redirected = findMentions(environment).mentions.map((mention): Redirected => {
    const upstream = upstreamOf(mention, environment)
    const key = keyOf(upstream)
    if (!ports.has(key)) upstreams.push(upstream)
    const port = ports.get(key) ?? firstPort + ports.size
    ports.set(key, port)
    const { user } = upstream.settings
    return { mention, upstream, target: { port, user, password: user === null ? null : 'TOKEN', database: null } }
  })
  return { child: childEnvironment(environment, redirected), upstreams }
}
