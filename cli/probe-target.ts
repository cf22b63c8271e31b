/** `steno probe-target`: what runs in the pod of `kubectl steno probe`: asks the databases of a policy from where it is, and prints what they said. */
import { Command } from 'commander'
import { createNameResolver } from '../relay/main.ts'
import { printLines } from './print-lines.ts'
import { probeTargets, readProbeRequest } from './probe/probe-targets.ts'
import { safeJson } from './search/statement-document.ts'

export function command(): Command {
  return new Command('probe-target')
    .description(
      'Asks databases from where it runs whether they would talk to whoever is there, and prints one JSON object for each address.\n' +
        '`kubectl steno probe` runs it in a pod that is not the relay.',
    )
    .argument('<request>', 'JSON: {namespace, user, targets: [{database, host, port, databaseNames}]}')
    .addHelpText(
      'after',
      `
Examples:
  steno probe-target '{"namespace":"shop","user":"nobody","targets":[{"database":"orders","host":"db.example.com","port":5432,"databaseNames":["shop"]}]}'
  kubectl steno probe orders -n shop      # which makes the pod, reads the answers and takes the pod away

It sends no password. Exit codes: 0 asked, whatever was answered; 1 failed; 2 used wrongly.`,
    )
    .action(async (text: string) => {
      const request = readProbeRequest(text)
      const resolve = createNameResolver({ ownNamespace: process.env['POD_NAMESPACE'] ?? '' })
      await printLines((await probeTargets(request, { resolve })).map((probed) => safeJson(probed)))
    })
}
