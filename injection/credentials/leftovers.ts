/**
 * Looks at a container after its credentials were moved, for what is still one: refused, never left.
 *
 * Looks at every text of the container but its name and image. A credential behind a reference that no policy names cannot be seen; where the
 * name of its variable speaks of a database there is a warning. Commands are read as text, not as a shell would.
 */
import type { V1Container } from '@kubernetes/client-node'
import { isAnnotationsField } from './close-volumes.ts'
import type { ClosedKeys } from './closed-keys.ts'
import { hasCredential } from './credential-text.ts'
import { tokensOf } from './expansion.ts'
import { elsewhereOf, readEnvironment, type Environment, type Expression } from './expression.ts'
import type { Report, Rule } from './rules.ts'

export type Looked = {
  /** After the change. */
  readonly container: V1Container
  readonly where: string
  /** Before the change. */
  readonly before: Environment
  /** Names that were removed. */
  readonly removed: ReadonlySet<string>
  /** Names that lead to the sidecar. */
  readonly rewritten: ReadonlySet<string>
}

/** What a Service gives each container, beside what its spec says (Kubernetes, "Environment variables" of Services). */
const serviceVariable = /_SERVICE_HOST$|_SERVICE_PORT(?:_|$)|_PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)?$/
const nameOfDatabase = /(?:DATABASE|POSTGRES(?:QL)?|^PG|_PG|_DB|^DB).*(?:_URL|_URI|_DSN|PASSWORD|_PASS)$/i

/** The longest name of a variable that is read for what it may mean. */
const namesLookedAtCharactersMax = 256

/** Whether a variable's name is one that the credential of a database usually has. */
export function speaksOfDatabase(name: string): boolean {
  return name.length <= namesLookedAtCharactersMax && nameOfDatabase.test(name)
}

/** What every text of one container is judged by, and who is told. */
type Judging = { readonly looked: Looked; readonly closed: ClosedKeys; readonly report: Report }

export function refuseLeftovers(looked: Looked, closed: ClosedKeys, report: Report): void {
  const { container, where } = looked
  const judging = { looked, closed, report }
  const environment = readEnvironment(container)
  for (const { variable, expression } of environment.entries) judgeVariable(variable, expression, judging)
  for (const { configMapRef, prefix } of container.envFrom ?? [])
    for (const key of closed.closedConfigMapKeys(configMapRef?.name)) {
      const name = `${prefix ?? ''}${key}`
      if (environment.indexOf(name) < 0)
        report.refuse(
          'ConfigMapKeyClosed',
          `${where}.envFrom`,
          `it gives key ${key} of ConfigMap ${configMapRef?.name}, which is the connection to a database, as ${name}`,
        )
    }
  for (const field of ['command', 'args'] as const)
    for (const [index, text] of (container[field] ?? []).entries()) {
      const place = `${where}.${field}[${index}]`
      const expression = environment.expressionOf(text)
      judgeNames(expression, place, judging)
      judgeText({ text, expression, place, rule: 'CredentialInCommand' }, judging)
    }
  for (const [path, text] of Object.entries(container).flatMap(([field, value]) =>
    judgedApart.has(field) ? [] : [...textsOf(value, `.${field}`)],
  ))
    judgeText({ text, expression: [{ kind: 'text', text }], place: `${where}${path}`, rule: 'CredentialInCommand' }, judging)
}

function judgeVariable(
  { name, value, valueFrom }: NonNullable<V1Container['env']>[number],
  expression: Expression,
  judging: Judging,
): void {
  const { looked, closed, report } = judging
  const place = `${looked.where}.env[${name}]`
  const { secretKeyRef, configMapKeyRef, fieldRef } = valueFrom ?? {}
  if (closed.isClosed(secretKeyRef))
    report.refuse(
      'SecretClosed',
      place,
      `it has key ${secretKeyRef?.key} of Secret ${secretKeyRef?.name}, which holds a database credential`,
    )
  if (closed.isClosedConfigMapKey(configMapKeyRef))
    report.refuse(
      'ConfigMapKeyClosed',
      place,
      `it has key ${configMapKeyRef?.key} of ConfigMap ${configMapKeyRef?.name}, which is the connection to a database`,
    )
  if (closed.isClosedField(fieldRef?.fieldPath))
    report.refuse('AnnotationsExposed', place, `it is ${fieldRef?.fieldPath} of the pod, which holds a database credential`)
  if (closed.hasPasswords && isAnnotationsField(fieldRef?.fieldPath))
    report.refuse(
      'AnnotationsExposed',
      place,
      'it is an annotation in which kubectl keeps the manifest with the password that stands in it',
    )
  if (name === 'PGPASSWORD' && (value || valueFrom) && !looked.rewritten.has(name))
    report.refuse('CredentialNotNamed', place, 'it is the password of a database')
  if (!value) {
    if (
      (secretKeyRef !== undefined || configMapKeyRef !== undefined) &&
      speaksOfDatabase(name) &&
      !closed.isClosedSecret(secretKeyRef?.name)
    )
      report.warn(`${place} may hold a database credential, and no policy names it`)
    return
  }
  judgeNames(expression, place, judging)
  judgeText({ text: value, expression, place, rule: 'CredentialNotNamed', name }, judging)
}

/** Fields that are looked at above, and those that hold no text of the agent's. */
const judgedApart: ReadonlySet<string> = new Set(['name', 'image', 'env', 'envFrom', 'command', 'args'])

/** Names that lead nowhere any more. */
function judgeNames(expression: Expression, place: string, { looked: { before, removed }, closed, report }: Judging): void {
  for (const name of elsewhereOf(expression)) {
    if (removed.has(name)) report.refuse('MovedVariableUsed', place, `it uses ${name}, which moved with a database connection`)
    else if (
      before.indexOf(name) < 0 &&
      !serviceVariable.test(name) &&
      (before.fromSources(name)?.alternatives ?? []).some(({ secretKeyRef }) => closed.isClosed(secretKeyRef))
    )
      report.refuse('SecretClosed', place, `it uses ${name}, which may come from a Secret that holds a database credential`)
  }
}

type JudgedText = {
  readonly text: string
  readonly expression: Expression
  readonly place: string
  /** What it breaks when it holds a credential. */
  readonly rule: Rule
  /** The variable whose value it is. */
  readonly name?: string
}

function judgeText({ text, expression, place, rule, name }: JudgedText, { looked: { removed }, closed, report }: Judging): void {
  // A hidden piece is a word, so that a composed credential looks like one.
  const whole = expression.map((piece) => (piece.kind === 'text' ? piece.text : piece.kind === 'leaf' ? 'hidden' : '$')).join('')
  if (closed.holdsPassword(text, name) || closed.holdsPassword(whole, name))
    report.refuse(rule, place, 'it holds the password of a database')
  else if (hasCredential(whole)) report.refuse(rule, place, 'it holds a connection to a PostgreSQL database with its password')
  if (rule !== 'CredentialInCommand') return
  const used = removed.size === 0 ? undefined : namesUsed(text).find((one) => removed.has(one))
  if (used !== undefined) report.refuse('MovedVariableUsed', place, `it uses ${used}, which moved with a database connection`)
}

/** Names of variables that a text uses: as a shell has them, and as the kubelet does. */
function namesUsed(text: string): string[] {
  const shell = [...text.matchAll(/\$\{?(\w+)/g)].map(([, name = '']) => name)
  return [...shell, ...tokensOf(text).flatMap((token) => (token.kind === 'reference' ? [token.name] : []))]
}

/** Every text in a value, with its path from the container: `.lifecycle.preStop.exec.command[2]`. */
export function* textsOf(value: unknown, path = ''): Generator<[path: string, text: string]> {
  if (typeof value === 'string') yield [path, value]
  else if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* textsOf(item, `${path}[${index}]`)
  else if (typeof value === 'object' && value !== null)
    for (const [name, item] of Object.entries(value)) yield* textsOf(item, `${path}.${name}`)
}
