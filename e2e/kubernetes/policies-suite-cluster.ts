/** Tests that the cluster's own work goes on under the admission policies, and of the policies as objects. */
import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { mergePatch } from './policies-api.ts'
import { assertAdmitted, injectedPod } from './policies-pods.ts'
import { plainPod, type PoliciesWorld } from './policies-world.ts'
import { clusterTest, eventually, getJson, kubectl } from './support/kubectl.ts'

export function testCluster(world: () => PoliciesWorld): void {
  suite('the cluster’s own work goes on', () => {
    type PodList = {
      items: { metadata: { name: string }; status: { initContainerStatuses?: { name: string; state: { running?: object } }[] } }[]
    }
    /** Without what is the test's alone; scheduled, and with a sidecar that the kubelet starts. */
    const template = (labels: Record<string, string>) => {
      const { metadata, spec } = injectedPod('x', world().namespace)
      const { schedulerName: _, ...rest } = spec as object & { schedulerName?: string }
      // The kubelet is to start it: what it refers to must be there.
      for (const container of spec.initContainers)
        container.env = (container.env ?? []).filter(({ name }) => !/^STENO_(SOURCE|CA)_/.test(name))
      return { metadata: { labels: { ...metadata.labels, ...labels }, annotations: metadata.annotations }, spec: rest }
    }
    const runningSidecar = (selector: string) =>
      eventually(`a pod of ${selector} runs its sidecar`, async () => {
        const { items } = await getJson<PodList>(['pods', '-n', world().namespace, '-l', selector])
        const pod = items.find(({ status }) =>
          status.initContainerStatuses?.some(({ name, state }) => name === 'steno' && state.running !== undefined),
        )
        return pod?.metadata.name
      })

    clusterTest('a Deployment’s pods are made, bound, given their token and run, and collected as garbage', async () => {
      const { namespace, people } = world()
      const { metadata, spec } = template({ work: 'deployment' })
      const body = {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'agents' },
        spec: { replicas: 1, selector: { matchLabels: { work: 'deployment' } }, template: { metadata, spec } },
      }
      const path = `/apis/apps/v1/namespaces/${namespace}/deployments`
      assertAdmitted(await world().api.send({ method: 'POST', path, as: people.edit, body }))
      // Running means: bound by the scheduler, its token made for the kubelet, its status written by the kubelet.
      const pod = await runningSidecar('work=deployment')
      const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod } }
      assertAdmitted(await world().create(`pods/${pod}/eviction`, eviction, people.edit, { dryRun: false }))
      await eventually('the pod is replaced', async () => {
        const { items } = await getJson<PodList>(['pods', '-n', namespace, '-l', 'work=deployment'])
        return items.length > 0 && items.every(({ metadata: { name } }) => name !== pod) ? true : null
      })
      assertAdmitted(await world().api.send({ method: 'DELETE', path: `${path}/agents?propagationPolicy=Background`, as: people.edit }))
      await eventually('the garbage collector has done its work', async () => {
        const { items } = await getJson<PodList>(['pods', '-n', namespace, '-l', 'work=deployment'])
        return items.length === 0 ? true : null
      })
    })

    clusterTest('a Job’s pods are made, run and finished', async () => {
      const { namespace, people } = world()
      const { metadata, spec } = template({ work: 'job' })
      const body = {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name: 'agents' },
        spec: { activeDeadlineSeconds: 600, template: { metadata, spec: { ...spec, restartPolicy: 'Never' } } },
      }
      const path = `/apis/batch/v1/namespaces/${namespace}/jobs`
      assertAdmitted(await world().api.send({ method: 'POST', path, as: people.edit, body }))
      await runningSidecar('work=job')
      // The controller takes its finalizer off each pod and ends it.
      const suspend = { spec: { suspend: true } }
      assertAdmitted(
        await world().api.send({ method: 'PATCH', path: `${path}/agents`, as: people.edit, body: suspend, contentType: mergePatch }),
      )
      await eventually('the pods are gone', async () => {
        const { items } = await getJson<PodList>(['pods', '-n', namespace, '-l', 'work=job'])
        return items.length === 0 ? true : null
      })
    })

    clusterTest('a workload without sidecar says in its events which rule and remedy keep it from having pods', async () => {
      const { namespace, people } = world()
      const { spec } = plainPod('x', namespace)
      const body = {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name: 'bare' },
        spec: { template: { metadata: {}, spec: { ...spec, restartPolicy: 'Never' } } },
      }
      assertAdmitted(await world().api.send({ method: 'POST', path: `/apis/batch/v1/namespaces/${namespace}/jobs`, as: people.edit, body }))
      await eventually('the event is there', async () => {
        const { items } = await getJson<{ items: { message: string }[] }>([
          'events',
          '-n',
          namespace,
          '--field-selector',
          'involvedObject.name=bare',
        ])
        return items.find(({ message }) => message.includes('SidecarMissing')) ?? null
      })
    })

    clusterTest('a namespace with egress policies and injected pods is deleted as any other', async () => {
      const name = `${world().prefix}-gone`
      const key = world().injectLabel
      await kubectl(['create', 'namespace', name])
      await kubectl(['label', 'namespace', name, `${key}=enabled`])
      const policy = {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'open' },
        spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] },
      }
      assertAdmitted(
        await world().api.send({ method: 'POST', path: `/apis/networking.k8s.io/v1/namespaces/${name}/networkpolicies`, body: policy }),
      )
      await kubectl(['delete', 'namespace', name, '--timeout=180s'])
    })
  })

  suite('the policies as objects', () => {
    type Policy = {
      metadata: { name: string }
      spec: { failurePolicy: string; validations: { message?: string }[] }
      status?: { observedGeneration?: number; typeChecking?: { expressionWarnings?: object[] } }
    }
    clusterTest('the API server finds no fault with their types, each fails closed, and each message names its rule', async () => {
      const { policyNames } = world()
      assert.ok(policyNames.length >= 17)
      const policies = await eventually('the types are checked', async () => {
        const { items } = await getJson<{ items: Policy[] }>([
          'validatingadmissionpolicies',
          ...policyNames.slice(0, 1),
          ...policyNames.slice(1),
        ])
        return items.every(({ status }) => status?.observedGeneration !== undefined) ? items : null
      })
      for (const { metadata, spec, status } of policies) {
        assert.deepEqual(status?.typeChecking?.expressionWarnings ?? [], [], metadata.name)
        assert.equal(spec.failurePolicy, 'Fail')
        for (const { message = '' } of spec.validations) assert.match(message, /^[A-Z][A-Za-z]+: .+\. .+\.$/)
      }
    })

    clusterTest('a namespace that is not opted in is left alone', async () => {
      const answer = await world().api.send({
        method: 'POST',
        path: '/api/v1/namespaces/default/pods?dryRun=All',
        body: { ...plainPod('bare', 'default'), spec: { ...plainPod('bare', 'default').spec, hostNetwork: true } },
      })
      assertAdmitted(answer)
    })
  })
}
