/** The version of steno, as `package.json` says it. */
import packageJson from '../package.json' with { type: 'json' }

export const stenoVersion: string = packageJson.version
