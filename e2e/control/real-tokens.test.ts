// Goal: what control asks a cluster is answered as it expects by a real API server: tokens, pods, and who makes its key. Method: a pod with a
// container named as the sidecar, tokens of several kinds from the TokenRequest API, and control's own functions.
import assert from 'node:assert/strict'
import { openCluster } from '../../cluster/client.ts'
import { controlKeySecret } from '../../webhook/control/control-key-secret.ts'
import { loadOrCreateControlKey } from '../../webhook/control/control-key.ts'
import { createPodDescription } from '../../webhook/control/describe-pod.ts'
import { createTokenReview } from '../../cluster/identity/token-review.ts'
import { clusterTest, createNamespace, eventually, kubectl } from '../kubernetes/support/kubectl.ts'

const image = process.env['STENO_TEST_PAUSE_IMAGE'] ?? 'localhost/steno/pause:1'

clusterTest('control knows a pod by its token alone, and by nothing else', async (t) => {
  await using made = await createNamespace('t-control')
  const namespace = made.name
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'agent', namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      initContainers: [
        {
          name: 'steno',
          image,
          restartPolicy: 'Always',
          env: [{ name: 'STENO_SIDECAR_CONFIG', value: '{"control":{"store":"default"}}' }],
        },
      ],
      containers: [{ name: 'agent', image }],
    },
  }
  await kubectl(['apply', '-f', '-'], JSON.stringify(pod))
  const uid = await kubectl(['get', 'pod', 'agent', '-n', namespace, '-o', 'jsonpath={.metadata.uid}'])
  const token = async (...options: string[]): Promise<string> =>
    (await kubectl(['create', 'token', 'default', '-n', namespace, ...options])).trim()
  const cluster = openCluster({ kubeconfig: null })
  t.after(() => cluster.close())
  const review = createTokenReview(cluster, 'steno-control')
  const bound = ['--bound-object-kind=Pod', '--bound-object-name=agent', `--bound-object-uid=${uid}`]
  const ours = await token('--audience=steno-control', ...bound)
  const others = [
    await token('--audience=steno-control'),
    await token(...bound),
    await token('--audience=other', ...bound),
    `${ours}x`,
    'x',
  ]
  for (const [at, other] of others.entries()) assert.equal((await review(other)).kind, 'refused', `token ${at}`)
  const verdict = await review(ours)
  assert.ok(verdict.kind === 'pod')
  const { podUid, podName, podNamespace, serviceAccount } = verdict.pod
  assert.deepEqual(
    { podUid, podName, podNamespace, serviceAccount },
    { podUid: uid, podName: 'agent', podNamespace: namespace, serviceAccount: 'default' },
  )

  const describe = createPodDescription(cluster)
  // Whoever may make pods may write a container of the sidecar's name where no admission policy looks.
  assert.equal((await describe(verdict.pod)).kind, 'unfit')
  await kubectl(['label', 'namespace', namespace, 'steno.dev/inject=enabled'])
  const description = await describe(verdict.pod)
  assert.ok(description.kind === 'fit' && description.store === 'default' && description.owner === null)
  assert.equal((await describe({ ...verdict.pod, podName: 'other' })).kind, 'unfit')
  assert.equal((await describe({ ...verdict.pod, podUid: 'other' })).kind, 'unfit')

  const place = controlKeySecret(cluster, namespace)
  const keys = await Promise.all(Array.from({ length: 6 }, () => loadOrCreateControlKey(place)))
  assert.equal(new Set(keys.map(({ publicKeyPem }) => publicKeyPem)).size, 1)

  await kubectl(['delete', 'pod', 'agent', '-n', namespace, '--grace-period=0', '--force'])
  await eventually('the token of a pod that is gone is refused', async () => ((await review(ours)).kind === 'refused' ? true : null))
})
