/** Control's key in a Secret: data `private.pem` and `public.pem`, immutable once made. */
import type { ClusterClient } from '../../cluster/client.ts'
import { isRefusal } from '../../cluster/errors.ts'
import { pathOf, resources } from '../../cluster/resources.ts'
import type { KeyPlace } from './control-key.ts'

export const controlKeySecretName = 'steno-control-key'

type SecretData = { readonly data?: Readonly<Record<string, string>> }

/** In `namespace`, steno's own. Its calls throw ClusterRefused, ClusterUnreachable. */
export function controlKeySecret(cluster: Pick<ClusterClient, 'request'>, namespace: string): KeyPlace {
  return {
    name: `Secret ${namespace}/${controlKeySecretName}`,
    async read() {
      try {
        const { data } = await cluster.request<SecretData>({
          method: 'GET',
          path: pathOf(resources.secrets, { namespace, name: controlKeySecretName }),
        })
        const encoded = data?.['private.pem']
        return { privatePem: encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8') }
      } catch (error) {
        if (isRefusal(error, 'NotFound')) return null
        throw error
      }
    },
    async create({ privatePem, publicPem }) {
      const labels = { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/component': 'control' }
      try {
        await cluster.request({
          method: 'POST',
          path: pathOf(resources.secrets, { namespace }),
          body: {
            ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: controlKeySecretName, namespace, labels } },
            ...{ type: 'Opaque', immutable: true, stringData: { 'private.pem': privatePem, 'public.pem': publicPem } },
          },
        })
        return 'created'
      } catch (error) {
        if (isRefusal(error, 'AlreadyExists')) return 'exists'
        throw error
      }
    },
  }
}
