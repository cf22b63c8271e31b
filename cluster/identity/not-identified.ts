/** Why nobody knows who asks: the token does not say it, too many ask at once, or the API server does not answer. */
import { KnownError } from '../../base/errors.ts'

const remedies = {
  TOKEN_UNFIT: 'Send the pod’s token for this audience, as the kubelet keeps it in /var/run/secrets/steno.dev.',
  BUSY: 'Wait: too many tokens that were not seen before are being reviewed.',
  CLUSTER_UNAVAILABLE: 'Wait; when it lasts, check that this component reaches the API server and may create TokenReviews and get pods.',
} as const

/** The message never holds a token. */
export class NotIdentified extends KnownError {
  readonly code: keyof typeof remedies
  readonly remedy: string
  readonly safeToRetry = true
  constructor(code: keyof typeof remedies, what: string, options?: ErrorOptions) {
    super(what, options)
    this.code = code
    this.remedy = remedies[code]
  }
}
