/** Tests of pods that are created under the admission policies. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { suite } from 'node:test'
import type { V1EnvVar, V1Pod } from '@kubernetes/client-node'
import { admissionExceptions } from '../../crds/exceptions.ts'
import { injectPod } from '../../injection/inject-pod.ts'
import { controlCasMax } from '../../crds/admission-parameters.ts'
import { goldenNames, goldenPod, goldenWorld, requestFor } from '../../injection/test-world.ts'
import { createdRules } from './policies-created-cases.ts'
import {
  appOf,
  assertAdmitted,
  assertRefused,
  type InjectedPod,
  offer,
  sidecarOf,
  controlUrlFor,
  relayEndpointFor,
} from './policies-pods.ts'
import { controlCas, controlPublicKey, foreignInit, plainPod, type PoliciesWorld, sidecarImage } from './policies-world.ts'
import { clusterTest, eventually } from './support/kubectl.ts'

export function testCreation(world: () => PoliciesWorld): void {
  suite('a pod that is created', () => {
    for (const { policy, rule, refused, admitted } of createdRules) {
      for (const { what, change, isDropped } of refused)
        clusterTest(`${rule} refuses ${what}, whoever asks`, async (context) => {
          const { admin, edit, master } = world().people
          for (const as of [admin, edit, master]) {
            const answer = await offer(world(), as, change)
            if (answer.code === 201 && isDropped?.(answer.body as V1Pod) === true)
              return context.skip('the API server dropped the field: the pod is made without it')
            assertRefused(answer, policy, rule)
          }
        })
      for (const { what, change } of admitted)
        clusterTest(`${rule} admits ${what}`, async () => {
          const { admin, edit } = world().people
          for (const as of [admin, edit]) assertAdmitted(await offer(world(), as, change))
        })
    }

    clusterTest('what the webhook makes of each pod of its golden pairs is admitted', async () => {
      const { namespace, people } = world()
      let injected = 0
      for (const name of goldenNames) {
        const admissionWorld = {
          ...goldenWorld(name),
          sidecarImage,
          controlPublicKey,
          controlCa: controlCas.join(''),
          controlUrl: controlUrlFor(namespace),
          relayEndpoint: relayEndpointFor(namespace),
        }
        const request = requestFor(goldenPod(name))
        const injection = injectPod(request, admissionWorld)
        if (injection.kind !== 'injected') continue
        injected += 1
        const exceptions = admissionExceptions(new Map([[request.namespace, request.namespaceLabels]]), admissionWorld.clusterPolicies)
        await world().setParameters({ foreignInitContainers: exceptions.foreignInitContainers })
        const pod: V1Pod = Object.assign({}, injection.pod, {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: Object.assign({ generateName: 'agent-' }, injection.pod.metadata, { namespace }),
          // The namespace has no ServiceAccount but its default.
          spec: Object.assign({}, injection.pod.spec, { serviceAccount: undefined, serviceAccountName: undefined }),
        })
        const last: string[] = []
        await eventually(
          `${name} is admitted`,
          async () => {
            const { code, message } = await world().create('pods', pod, people.admin)
            last[0] = message
            return code === 201 ? true : null
          },
          { withinMilliseconds: 5000 },
        ).catch(() => assert.fail(`${name}: ${last[0]}`))
      }
      assert.ok(injected >= 8)
      await world().setParameters({})
      await eventually('the parameters are as before', async () => {
        const { code } = await offer(world(), people.admin, (pod) => void pod.spec.initContainers.unshift({ ...foreignInit }))
        return code === 201 ? true : null
      })
    })

    clusterTest('every source that the webhook moves in its golden pairs may stand in a sidecar', async () => {
      const folder = new URL('../../injection/credentials/golden/', import.meta.url)
      let moved = 0
      for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
        const golden = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as { becomes?: { sources?: { env: V1EnvVar[] }[] } }
        const sources = (golden.becomes?.sources ?? []).flatMap(({ env }) => env)
        if (sources.length === 0) continue
        moved += 1
        const answer = await offer(world(), world().people.admin, (pod) => {
          const sidecar = sidecarOf(pod)
          sidecar.env = [...(sidecar.env ?? []).filter((variable) => !variable.name.startsWith('STENO_SOURCE_')), ...sources]
          // Fields of resources name their container.
          for (const { valueFrom } of sources) {
            const named = valueFrom?.resourceFieldRef?.containerName
            if (named !== undefined && named !== appOf(pod).name) appOf(pod).name = named
          }
        })
        assert.equal(answer.code, 201, `${name}: ${answer.message}`)
      }
      assert.ok(moved >= 10, `${moved} pairs`)
    })

    clusterTest('a pod with many containers and sources costs no more than a rule may', async () => {
      const answer = await offer(world(), world().people.admin, (pod) => {
        const sidecar = sidecarOf(pod)
        for (let source = 2; source < 66; source++)
          for (const part of ['HOST', 'PORT', 'USER', 'PASSWORD', 'DATABASE', 'SSLMODE'])
            sidecar.env?.push({
              name: `STENO_SOURCE_${source}_LEGACY_ORDERS_PG${part}`,
              valueFrom: { secretKeyRef: { name: 'orders', key: part } },
            })
        pod.spec.containers = Array.from({ length: 40 }, (_, index) => ({
          image: appOf(pod).image ?? '',
          name: `app-${index}`,
          env: Array.from({ length: 50 }, (__, number) => ({ name: `V${number}`, value: 'x'.repeat(100) })),
          securityContext: { capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } },
          volumeMounts: [{ name: 'mine', mountPath: '/mine' }],
        }))
        pod.spec.volumes.push({ name: 'mine', emptyDir: {} })
        pod.spec.hostAliases = Array.from({ length: 8 }, (_, index) => ({ ip: '10.0.0.9', hostnames: [`printer-${index}.example.com`] }))
      })
      assertAdmitted(answer)
    })

    clusterTest('a name that the API server makes up is judged as any other', async () => {
      const { admin } = world().people
      const generated = (pod: InjectedPod) => Object.assign(pod.metadata, { name: undefined, generateName: 'agent-' })
      assertAdmitted(await offer(world(), admin, generated))
      const bare = { ...plainPod('x', world().namespace), metadata: { generateName: 'agent-' } }
      assertRefused(await world().create('pods', bare, admin), 'sidecar', 'SidecarMissing')
    })

    clusterTest('without the parameters no pod is created, and with them again pods are', async () => {
      const { admin } = world().people
      await world().setParameters(null)
      await eventually('pods are refused', async () => {
        const { code, message } = await offer(world(), admin, () => undefined)
        if (code !== 422 && code !== 403) return null
        assert.match(message, /-sidecar' with binding '[^']*-sidecar' denied request: .*no params found/)
        return true
      })
      await world().setParameters({})
      await eventually('pods are admitted', async () => ((await offer(world(), admin, () => undefined)).code === 201 ? true : null))
    })

    clusterTest('as many authorities as the parameters may name cost no more than a rule may', async () => {
      const { admin } = world().people
      const many = Array.from(
        { length: controlCasMax },
        (_, at) => `-----BEGIN CERTIFICATE-----\n${`${at}x`.repeat(400)}\n-----END CERTIFICATE-----\n`,
      )
      const offerOf = (authorities: readonly string[]) =>
        offer(world(), admin, (pod) => {
          for (const variable of sidecarOf(pod).env ?? []) if (variable.name === 'STENO_CONTROL_CA') variable.value = authorities.join('')
        })
      await world().setParameters({ controlCas: many })
      await eventually('they are known', async () => ((await offerOf(many.slice(-11))).code === 201 ? true : null))
      assertRefused(await offerOf([...many.slice(-11), controlCas[0] ?? '']), 'sidecar', 'SidecarTrust')
      await world().setParameters({})
      await eventually('the parameters are as before', async () =>
        (await offer(world(), admin, () => undefined)).code === 201 ? true : null,
      )
    })

    clusterTest('while the parameters name no key of control and no authority, none is compared', async () => {
      const { admin } = world().people
      const withOtherKey = (pod: InjectedPod) => {
        for (const variable of sidecarOf(pod).env ?? []) if (variable.name === 'STENO_CONTROL_PUBLIC_KEY') variable.value = 'another'
      }
      const withOtherAuthority = (pod: InjectedPod) => {
        for (const variable of sidecarOf(pod).env ?? []) if (variable.name === 'STENO_CONTROL_CA') variable.value = 'another'
      }
      assertRefused(await offer(world(), admin, withOtherAuthority), 'sidecar', 'SidecarTrust')
      await world().setParameters({ controlCas: [] })
      await eventually('another authority is admitted', async () =>
        (await offer(world(), admin, withOtherAuthority)).code === 201 ? true : null,
      )
      assertRefused(await offer(world(), admin, withOtherKey), 'sidecar', 'SidecarTrust')
      await world().setParameters({ controlPublicKeys: [] })
      await eventually('it is admitted', async () => ((await offer(world(), admin, withOtherKey)).code === 201 ? true : null))
      await world().setParameters({})
      await eventually('it is refused again', async () => ((await offer(world(), admin, withOtherKey)).code === 422 ? true : null))
    })
  })
}
