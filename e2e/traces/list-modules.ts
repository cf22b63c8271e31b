/** Preloaded into a process (`--import`) and its threads: writes the address of every module that is loaded into the file STENO_TEST_MODULES. */
import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const file = process.env['STENO_TEST_MODULES']
if (file === undefined) throw new Error('STENO_TEST_MODULES names the file to write to')
registerHooks({
  load(url, context, nextLoad) {
    appendFileSync(file, `${url}\n`)
    return nextLoad(url, context)
  },
})
