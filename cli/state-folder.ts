/** Where steno keeps what it must remember on this machine, by the XDG Base Directory Specification. */
import os from 'node:os'
import path from 'node:path'

export function stateFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const base = environment['XDG_STATE_HOME']
  return path.join(base !== undefined && path.isAbsolute(base) ? base : path.join(os.homedir(), '.local', 'state'), 'steno')
}
