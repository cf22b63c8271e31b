/** Tests of what may be changed in a pod that is there, under the admission policies. */
import assert from 'node:assert/strict'
import { before, suite } from 'node:test'
import { jsonPatch, type Caller } from './policies-api.ts'
import { assertAdmitted, assertRefused, injectedPod, offer, sidecarOf } from './policies-pods.ts'
import { plainPod, type PoliciesWorld, sidecarImage } from './policies-world.ts'
import { clusterTest, eventually, kubectl } from './support/kubectl.ts'

const isThere = process.env['KUBECONFIG'] !== undefined

export function testChanges(world: () => PoliciesWorld): void {
  suite('a pod that is there', () => {
    const marks = ['labels', 'annotations'] as const
    const known = { labels: 'steno.dev~1injected', annotations: 'steno.dev~1policy-hash' }
    const rules = { labels: 'LabelChanged', annotations: 'AnnotationChanged' }
    const patch = (name: string, operations: object[], as: Caller | undefined, subresource = '') =>
      world().api.send({
        method: 'PATCH',
        path: `${world().in(`pods/${name}${subresource}`)}?dryRun=All`,
        as,
        body: operations,
        contentType: jsonPatch,
      })
    const isServed = async (resource: string) => {
      const { body } = await world().api.send({ method: 'GET', path: '/api/v1' })
      return (body as { resources: { name: string }[] }).resources.some(({ name }) => name === resource)
    }

    before(async () => {
      if (!isThere) return
      const there = injectedPod('there', world().namespace)
      there.spec.initContainers.push({ name: 'migrate', image: sidecarImage })
      assertAdmitted(await world().create('pods', there, world().people.admin, { dryRun: false }))
    })

    clusterTest("the sidecar's image cannot be changed, another container's can", async () => {
      const { admin, edit, more, master, webhook } = world().people
      for (const as of [admin, edit, more, master, webhook]) {
        const changed = await patch('there', [{ op: 'replace', path: '/spec/initContainers/0/image', value: `${sidecarImage}-evil` }], as)
        assertRefused(changed, 'pod-update', 'ImageChanged')
      }
      for (const as of [admin, edit])
        for (const path of ['/spec/containers/0/image', '/spec/initContainers/1/image'])
          assertAdmitted(await patch('there', [{ op: 'replace', path, value: 'example.com/other:1' }], as))
    })

    clusterTest("the sidecar's resources cannot be changed, another container's can", async () => {
      const { admin, more } = world().people
      const resources = { requests: { cpu: '10m', memory: '96Mi' }, limits: { memory: '512Mi' } }
      const toSidecar = [{ op: 'replace', path: '/spec/initContainers/0/resources', value: resources }]
      if (!(await isServed('pods/resize'))) {
        // Before Kubernetes 1.33 the API server itself lets nobody change a pod's resources.
        const unchangeable = await patch('there', toSidecar, admin)
        assert.equal(unchangeable.code, 422)
        assert.match(unchangeable.message, /pod updates may not change fields other than/)
        return
      }
      const changed = await patch('there', toSidecar, more, '/resize')
      assertRefused(changed, 'pod-update', 'SidecarChanged')
      const cpu = { requests: { cpu: '20m' } }
      assertAdmitted(await patch('there', [{ op: 'replace', path: '/spec/containers/0/resources', value: cpu }], more, '/resize'))
    })

    for (const field of marks) {
      clusterTest(`steno's ${field} cannot be changed, removed or added, others can`, async () => {
        const { admin, edit, more } = world().people
        const refusedOperations = [
          { op: 'replace', path: `/metadata/${field}/${known[field]}`, value: 'x' },
          { op: 'remove', path: `/metadata/${field}/${known[field]}` },
          { op: 'add', path: `/metadata/${field}/steno.dev~1mine`, value: 'x' },
        ]
        for (const operation of refusedOperations) {
          for (const as of [admin, edit]) assertRefused(await patch('there', [operation], as), 'pod-update', rules[field])
          assertRefused(await patch('there', [operation], more, '/status'), 'pod-update', rules[field])
        }
        const all = await patch('there', [{ op: 'remove', path: `/metadata/${field}` }], admin)
        assertRefused(all, 'pod-update', rules[field])
        for (const as of [admin, edit])
          assertAdmitted(await patch('there', [{ op: 'add', path: `/metadata/${field}/example.com~1mine`, value: 'x' }], as))
      })

      clusterTest(`steno's own accounts change no ${field} of a pod, either`, async () => {
        const { webhook, control } = world().people
        const change = [{ op: 'replace', path: `/metadata/${field}/${known[field]}`, value: 'x' }]
        for (const as of [webhook, control]) assertRefused(await patch('there', change, as), 'pod-update', rules[field])
      })

      clusterTest(`a Binding brings none of steno's ${field} onto a pod, by either path, and others pass`, async () => {
        const { more } = world().people
        const bound = (key: string) => ({
          apiVersion: 'v1',
          kind: 'Binding',
          metadata: { name: 'there', namespace: world().namespace, [field]: { [key]: 'x' } },
          target: { apiVersion: 'v1', kind: 'Node', name: 'nowhere' },
        })
        for (const resource of ['bindings', 'pods/there/binding']) {
          assertRefused(await world().create(resource, bound('steno.dev/policy-hash'), more), 'pod-binding', 'BindingMarks')
          assertAdmitted(await world().create(resource, bound('example.com/mine'), more))
        }
      })
    }

    clusterTest('the label by which network policies hold a pod is changed by nobody of the namespace', async () => {
      const { admin, edit, more, policyEditor } = world().people
      const label = '/metadata/labels/steno.dev~1enforcement'
      for (const operation of [
        { op: 'replace', path: label, value: 'CredentialsOnly' },
        { op: 'remove', path: label },
      ])
        for (const as of [admin, edit, more, policyEditor])
          assertRefused(await patch('there', [operation], as), 'pod-update', 'LabelChanged')
    })

    clusterTest("what the sidecar measured is a condition of the pod's that control alone writes", async () => {
      const { more, webhook, control } = world().people
      const condition = (type: string, status: string) => ({ type, status, reason: 'Closed' })
      const write = (as: Caller | undefined, ...conditions: object[]) =>
        world().api.send({
          method: 'PATCH',
          path: world().in('pods/there/status'),
          as,
          body: { status: { conditions } },
          contentType: 'application/strategic-merge-patch+json',
        })
      assertRefused(await write(more, condition('steno.dev/EgressClosed', 'True')), 'pod-update', 'ConditionChanged')
      assertRefused(await write(webhook, condition('steno.dev/EgressClosed', 'True')), 'pod-update', 'ConditionChanged')
      assertAdmitted(await write(control, condition('steno.dev/EgressClosed', 'False')))
      assertRefused(await write(more, condition('steno.dev/EgressClosed', 'True')), 'pod-update', 'ConditionChanged')
      const removal = { $patch: 'delete', type: 'steno.dev/EgressClosed' }
      assertRefused(await write(more, removal), 'pod-update', 'ConditionChanged')
      assertAdmitted(await write(more, condition('example.com/Mine', 'True')))
      const all = await patch('there', [{ op: 'remove', path: '/status/conditions' }], more, '/status')
      assertRefused(all, 'pod-update', 'ConditionChanged')
    })

    clusterTest('a pod of the release before, whose sidecar looked otherwise, can be labelled and finished', async () => {
      // Made while the release before was there: its images and its shape were others.
      const { admin } = world().people
      const old = injectedPod('old', world().namespace)
      sidecarOf(old).image = 'localhost/steno/steno:before'
      await world().setParameters({ images: ['localhost/steno/steno:before'] })
      await eventually('the release before is in force', async () => {
        const { code } = await world().create('pods', old, admin, { dryRun: false })
        return code === 201 || code === 409 ? true : null
      })
      await world().setParameters({})
      await eventually('this release is in force', async () => ((await offer(world(), admin, () => undefined)).code === 201 ? true : null))
      assertAdmitted(await patch('old', [{ op: 'add', path: '/metadata/labels/example.com~1mine', value: 'x' }], admin))
      assertRefused(
        await patch('old', [{ op: 'replace', path: '/spec/initContainers/0/image', value: sidecarImage }], admin),
        'pod-update',
        'ImageChanged',
      )
      assertAdmitted(await world().api.send({ method: 'DELETE', path: `${world().in('pods/old')}?gracePeriodSeconds=0`, as: admin }))
    })

    clusterTest('a pod of before the namespace was opted in can be labelled and finished, and marked by nobody', async () => {
      const { admin } = world().people
      const add = (key: string) => patch('before', [{ op: 'add', path: '/metadata/labels', value: { [key]: 'true' } }], admin)
      assertAdmitted(await add('example.com/mine'))
      assertRefused(await add('steno.dev/injected'), 'pod-update', 'LabelChanged')
      assertAdmitted(await world().api.send({ method: 'DELETE', path: `${world().in('pods/before')}?dryRun=All`, as: admin }))
    })

    suite('and an ephemeral container', () => {
      const attach = (fields: object) =>
        patch(
          'there',
          [{ op: 'add', path: '/spec/ephemeralContainers', value: [{ name: 'debug', image: sidecarImage, ...fields }] }],
          world().people.more,
          '/ephemeralcontainers',
        )
      const cases: readonly [what: string, fields: object, policy: string, rule: string][] = [
        ['that targets the sidecar', { targetContainerName: 'steno' }, 'pod-debug', 'DebugSidecar'],
        [
          'that takes the key of the credential',
          { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'password' } } }] },
          'pod-debug',
          'DebugSecret',
        ],
        ['that takes all of its Secret', { envFrom: [{ secretRef: { name: 'orders-db' } }] }, 'pod-debug', 'DebugSecret'],
        ['that mounts the spool', { volumeMounts: [{ name: 'steno-spool', mountPath: '/s' }] }, 'pod-volumes', 'VolumeMounted'],
        ['that mounts the token', { volumeMounts: [{ name: 'steno-token', mountPath: '/t' }] }, 'pod-volumes', 'VolumeMounted'],
        ['that is privileged', { securityContext: { privileged: true } }, 'pod-privileges', 'Privileged'],
        ['that may trace', { securityContext: { capabilities: { add: ['SYS_PTRACE'] } } }, 'pod-privileges', 'Capabilities'],
        ["with the sidecar's user", { securityContext: { runAsUser: 64_242 } }, 'pod-identity', 'UserTaken'],
      ]
      for (const [what, fields, policy, rule] of cases)
        clusterTest(`${what} is refused`, async () => {
          assertRefused(await attach(fields), policy, rule)
        })
      clusterTest('that targets another container is admitted', async () => {
        assertAdmitted(await attach({ targetContainerName: 'app', securityContext: { runAsUser: 1000 } }))
        const other = {
          env: [{ name: 'A', value: 'b' }],
          envFrom: [{ secretRef: { name: 'other' } }, { configMapRef: { name: 'orders-db' } }],
        }
        assertAdmitted(await attach(other))
      })
      clusterTest('of before the namespace was opted in keeps no other from being added', async () => {
        const { more } = world().people
        const made = (name: string, fields: object) => ({ name, image: sidecarImage, terminationMessagePolicy: 'File', ...fields })
        const pod = plainPod('debugged', world().namespace)
        await kubectl(['label', 'namespace', world().namespace, `${world().injectLabel}-`])
        await eventually('the namespace is out', async () => ((await world().create('pods', pod, more)).code === 201 ? true : null))
        assertAdmitted(await world().create('pods', pod, more, { dryRun: false }))
        const old = made('old', { securityContext: { privileged: true } })
        const path = world().in('pods/debugged/ephemeralcontainers')
        const add = (list: object[]) =>
          world().api.send({
            method: 'PATCH',
            path,
            as: more,
            body: { spec: { ephemeralContainers: list } },
            contentType: 'application/strategic-merge-patch+json',
          })
        assertAdmitted(await add([old]))
        await kubectl(['label', 'namespace', world().namespace, `${world().injectLabel}=enabled`])
        await eventually('the namespace is in', async () =>
          (await world().create('pods', plainPod('x', world().namespace), more)).code === 422 ? true : null,
        )
        assertAdmitted(await add([made('further', {})]))
        assertRefused(await add([made('third', { securityContext: { privileged: true } })]), 'pod-privileges', 'Privileged')
        await kubectl(['delete', 'pod', '-n', world().namespace, 'debugged', '--now', '--wait=false'])
      })
    })
  })
}
