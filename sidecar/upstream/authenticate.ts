/**
 * Signs in: answers what the server asks until it is content, within what the connection string allows.
 *
 * Holds to require_auth and channel_binding up to the end: a server that skips the proof it owes is refused. Passwords leave here in clear
 * only over TLS or a local socket, unless that was allowed. Source: PostgreSQL documentation, "Message Flow" and "SASL Authentication".
 */
import { messageOf } from '../../base/errors.ts'
import { certificateHash } from '../../postgres/authentication/channel-binding.ts'
import {
  decodeAuthenticationRequest,
  encodePasswordMessage,
  encodeSaslInitialResponse,
  encodeSaslResponse,
} from '../../postgres/authentication/messages.ts'
import type { AuthenticationRequest } from '../../postgres/authentication/messages.ts'
import { md5Answer } from '../../postgres/authentication/md5.ts'
import { createScramClient } from '../../postgres/authentication/scram-client.ts'
import type { ChannelBinding } from '../../postgres/authentication/scram-client.ts'
import { ScramFailed, scramSha256, scramSha256Plus } from '../../postgres/authentication/scram.ts'
import type { Secret } from '../../postgres/authentication/secret.ts'
import type { AuthenticationMethod, ConnectionSettings } from '../../postgres/connection-string.ts'
import { BadStartup } from '../../postgres/startup-messages.ts'
import { SignInImpossible } from './errors.ts'

export type SignIn = {
  readonly settings: ConnectionSettings
  readonly user: string
  readonly encrypted: boolean
  /** The server's certificate as DER, or null when there is none. */
  readonly certificate: Buffer | null
  /** True when nobody but this machine sees the bytes. */
  readonly local: boolean
  readonly allowCleartextPassword: boolean
  /** Asked only when the server wants a password. */
  findPassword(): Promise<Secret | null>
}

/** One sign-in: give it each authentication request, and send what it answers. It is done when `answer` gives null for `ok`. */
export function createSignIn(signIn: SignIn) {
  const { settings, certificate, encrypted } = signIn
  let scram: ReturnType<typeof createScramClient> | null = null
  let state: 'start' | 'answered' | 'challenge' | 'proof' | 'proven' = 'start'
  let bound = false

  function demand(method: AuthenticationMethod): void {
    if (settings.allowedAuthentication === null || settings.allowedAuthentication.has(method)) return
    const asked = method === 'none' ? 'lets us in without asking for a password' : `asks for ${method} authentication`
    throw new SignInImpossible(
      `the server ${asked}, which require_auth forbids`,
      'Change the server’s pg_hba.conf, or require_auth in the connection string.',
    )
  }
  function demandUnbound(): void {
    if (settings.channelBinding !== 'require') return
    const why = !encrypted ? 'the connection is not encrypted' : 'the server does not offer it'
    throw new SignInImpossible(
      `channel_binding=require cannot be kept: ${why}`,
      'Use TLS and SCRAM-SHA-256 passwords on the server, or channel_binding=prefer.',
    )
  }
  async function password(): Promise<Secret> {
    const found = await signIn.findPassword()
    if (found !== null && !found.reveal().includes('\0')) return found
    if (found !== null) throw new SignInImpossible('the password holds a zero byte, which cannot be sent', 'Correct the password file.')
    throw new SignInImpossible(
      `the server asks for the password of ${signIn.user} and there is none`,
      'Put it into the upstream file or a password file (passfile).',
    )
  }
  function expect(wanted: typeof state): void {
    if (state !== wanted) throw new BadStartup('the server sent an authentication message out of order')
  }

  async function respond(request: AuthenticationRequest): Promise<Buffer | null> {
    switch (request.kind) {
      case 'ok':
        if (state === 'challenge' || state === 'proof')
          throw new SignInImpossible(
            'the server let us in before it proved that it knows the password',
            'Check that the address is the database you mean.',
          )
        if (state === 'start') demand('none')
        if (!bound) demandUnbound()
        return null
      case 'cleartext':
        expect('start')
        demand('password')
        demandUnbound()
        if (!encrypted && !signIn.local && !signIn.allowCleartextPassword) {
          throw new SignInImpossible(
            'the server asks for the password in clear over a connection that is not encrypted',
            'Use sslmode=require or stronger, scram-sha-256 on the server, or --allow-cleartext-password.',
          )
        }
        state = 'answered'
        return encodePasswordMessage((await password()).reveal())
      case 'md5':
        expect('start')
        demand('md5')
        demandUnbound()
        state = 'answered'
        return encodePasswordMessage(md5Answer({ user: signIn.user, password: await password(), salt: request.salt }))
      case 'sasl': {
        expect('start')
        const binding = chooseBinding(request.mechanisms)
        demand('scram-sha-256')
        if (binding.kind !== 'bound') demandUnbound()
        bound = binding.kind === 'bound'
        scram = createScramClient({ password: await password(), channelBinding: binding })
        state = 'challenge'
        return encodeSaslInitialResponse(scram.mechanism, scram.first())
      }
      case 'sasl-continue':
        expect('challenge')
        state = 'proof'
        return encodeSaslResponse(await scram!.final(request.data))
      case 'sasl-final':
        expect('proof')
        scram!.verify(request.data)
        state = 'proven'
        return Buffer.alloc(0)
      case 'unsupported':
        throw new SignInImpossible(
          `the server asks for ${request.name} authentication, which steno does not speak`,
          'Give this user a scram-sha-256 line in pg_hba.conf, or a client certificate (cert).',
        )
      default:
        return request satisfies never
    }
  }

  function chooseBinding(mechanisms: readonly string[]): ChannelBinding {
    if (mechanisms.includes(scramSha256Plus) && !encrypted) {
      throw new SignInImpossible(
        'the server offers channel binding over a connection that is not encrypted',
        'Somebody may be in between: use sslmode=verify-full.',
      )
    }
    // A certificate without a single hash (Ed25519) cannot be bound to; saying "we could" would then look like an attack to the server.
    const hash = certificate === null || settings.channelBinding === 'disable' ? null : certificateHash(certificate)
    if (mechanisms.includes(scramSha256Plus) && hash !== null) return { kind: 'bound', certificateHash: hash }
    if (mechanisms.includes(scramSha256)) return { kind: hash === null ? 'impossible' : 'unused' }
    const offered = mechanisms.map((name) => name.slice(0, 40).replace(/[^\w-]/g, '?')).slice(0, 8)
    throw new SignInImpossible(
      `the server offers only ${offered.join(', ') || 'nothing'} for signing in`,
      'Give this user a SCRAM-SHA-256 password on the server.',
    )
  }

  return {
    /**
     * What to send in answer to an 'R' message, empty for nothing; null when the server is content.
     * @throws SignInImpossible, or BadStartup for bytes that are no such message
     */
    async answer(body: Buffer): Promise<Buffer | null> {
      try {
        return await respond(decodeAuthenticationRequest(body))
      } catch (error) {
        if (error instanceof ScramFailed) throw new SignInImpossible(messageOf(error), error.remedy, error)
        throw error
      }
    },
  }
}
