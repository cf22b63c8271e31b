/**
 * The programs of others that take part, as commands that can be started as they are: HAProxy, PgBouncer, pgbench.
 *
 * The project's own tools find or fetch them. PgBouncer refuses to run as root, so there it is given another user id of its own namespace.
 */
import { program } from '../tools/debian-programs.ts'

export type Command = { readonly command: readonly string[]; readonly environment: NodeJS.ProcessEnv }

const withoutRoot = ['unshare', '-U', '--map-user=1000', '--map-group=1000']

/** Throws ProgramMissing and PackagesNotFetched of the project's tools. */
export async function commandOf(name: 'haproxy' | 'pgbouncer' | 'pgbench'): Promise<Command> {
  const { command, env } = await program(name)
  const isRoot = process.getuid?.() === 0
  return { command: name === 'pgbouncer' && isRoot ? [...withoutRoot, command] : [command], environment: env }
}
