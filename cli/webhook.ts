/** `steno webhook`: what runs as the Deployment steno-webhook; reads what it is told, runs it until a signal, and ends it in good order. */
import { Command } from 'commander'
import { standardLeaseTiming, standardReconcileIntervals, startWebhook } from '../webhook/main.ts'
import { agentNetworkOption, networkSettings, type AgentNetwork } from './agent-network.ts'
import { addClusterOptions, clusterSettings, runUntilSignal, seconds, type ClusterOptions } from './cluster-options.ts'

type Options = ClusterOptions & {
  readonly sidecarImage: string
  readonly webhookConfiguration: string
  readonly admissionParameters: string
  readonly lease: string
  readonly rightsSeconds: number
  readonly agentNetwork?: AgentNetwork
}

export function command(): Command {
  const bare = new Command('webhook')
    .description(
      'Answers the API server about pods: those of opted-in namespaces get the recording sidecar and lose the credential. One of several\n' +
        "replicas leads: it keeps the statuses of policies, the parameters of the admission policies, and the webhook's certificates.",
    )
    .requiredOption('--sidecar-image <image>', 'the image of the sidecars')
    .option('--webhook-configuration <name>', 'the MutatingWebhookConfiguration whose caBundle is kept', 'steno')
    .option('--admission-parameters <name>', 'the AdmissionParameters that are kept in step with ClusterSessionPolicies', 'steno')
    .option('--lease <name>', 'the Lease by which replicas choose who leads', 'steno-webhook')
    .addOption(
      seconds(
        '--rights-seconds <n>',
        'how long the rights of a ServiceAccount count as known',
        standardReconcileIntervals.rightsMilliseconds,
      ),
    )
    .addOption(agentNetworkOption())
  return addClusterOptions(bare)
    .addHelpText(
      'after',
      `
Examples:
  steno webhook --sidecar-image registry.example.com/steno@sha256:…                   # in the cluster, as the chart runs it
  steno webhook --sidecar-image steno:dev --certificate-secret steno-webhook-tls      # with a certificate of cert-manager
  steno webhook --sidecar-image steno:dev --kubeconfig ~/.kube/config --listen 192.168.1.5:8443 --certificate-names 192.168.1.5
                                         # on a developer's machine, for a webhook configuration with \`url:\`

It ends on SIGTERM or SIGINT: readiness ends first, another replica may lead, and requests under way are answered. A second signal does
not wait. Exit code 0: it ended in good order; 1: it did not start.`,
    )
    .action(async (options: Options) => {
      const common = clusterSettings(options, 'steno-webhook', process.env)
      const settings = {
        ...common,
        sidecarImage: options.sidecarImage,
        webhookConfiguration: options.webhookConfiguration,
        parametersName: options.admissionParameters,
        leaseName: options.lease,
        leaseTiming: standardLeaseTiming,
        statusMilliseconds: standardReconcileIntervals.statusMilliseconds,
        rightsMilliseconds: options.rightsSeconds * 1000,
        network: networkSettings(common.namespace, options.agentNetwork),
      }
      await runUntilSignal(options, async (log) => {
        const webhook = await startWebhook(settings, log)
        return { ports: { port: webhook.port, metrics: webhook.metricsPort }, stop: () => webhook.stop() }
      })
    })
}
