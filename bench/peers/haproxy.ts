/**
 * HAProxy as a plain TCP proxy with one listener and one server, as a command that can be started as it is.
 *
 * One thread, as all the others have for their bytes. `file` is where its configuration is written. It knows nothing of PostgreSQL: with
 * `bind` and `server` as HAProxy's own words it can end or begin TLS, but not the one that begins with an SSLRequest.
 */
import { writeFile } from 'node:fs/promises'
import { commandOf, type Command } from '../programs.ts'

export type HaproxyWay = {
  readonly port: number
  /** After the address of `bind`: `ssl crt FILE` ends TLS. */
  readonly bind?: string
  /** HOST:PORT and after it what `server` takes besides. */
  readonly server: string
}

/** Throws ProgramMissing and PackagesNotFetched of the project's tools. */
export async function haproxyCommand(file: string, { port, bind = '', server }: HaproxyWay): Promise<Command> {
  await writeFile(
    file,
    `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:${port} ${bind}
  server next ${server}
`,
  )
  const { command, environment } = await commandOf('haproxy')
  return { command: [...command, '-db', '-f', file], environment }
}
