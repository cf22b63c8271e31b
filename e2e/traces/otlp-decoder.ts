/**
 * Decodes OTLP trace requests by Google's own Protocol Buffers (Python, from Debian), so that nothing of OpenTelemetry's JavaScript
 * judges its own bytes. The messages stand here as the OTLP specification has them; bytes that belong to none of their fields are an error.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { fetchPackages } from '../../tools/debian-packages.ts'

/** A span as it crossed the wire. Numbers that need 64 bits are texts. */
export type WireSpan = {
  readonly traceId: string
  readonly spanId: string
  /** '' for a span without a parent. */
  readonly parentSpanId: string
  readonly name: string
  readonly kind: string
  readonly startNanoseconds: bigint
  readonly endNanoseconds: bigint
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly status: { readonly code: string; readonly message: string }
  readonly resource: Readonly<Record<string, string | number | boolean>>
  readonly scope: { readonly name: string; readonly version: string }
}

/** Field names and numbers by "OpenTelemetry Protocol" 1.x, messages of trace, resource and common. */
const program = String.raw`
import base64, json, struct, sys
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
F = descriptor_pb2.FieldDescriptorProto
TYPES = dict(string=F.TYPE_STRING, bytes=F.TYPE_BYTES, bool=F.TYPE_BOOL, int64=F.TYPE_INT64, double=F.TYPE_DOUBLE,
             uint32=F.TYPE_UINT32, fixed64=F.TYPE_FIXED64, fixed32=F.TYPE_FIXED32)
MESSAGES = {
    'Request': 'ResourceSpans* resource_spans 1',
    'ResourceSpans': 'Resource resource 1, ScopeSpans* scope_spans 2, string schema_url 3',
    'Resource': 'KeyValue* attributes 1, uint32 dropped_attributes_count 2',
    'ScopeSpans': 'Scope scope 1, Span* spans 2, string schema_url 3',
    'Scope': 'string name 1, string version 2, KeyValue* attributes 3, uint32 dropped_attributes_count 4',
    'Span': 'bytes trace_id 1, bytes span_id 2, string trace_state 3, bytes parent_span_id 4, string name 5, #SpanKind kind 6, '
            'fixed64 start_time_unix_nano 7, fixed64 end_time_unix_nano 8, KeyValue* attributes 9, uint32 dropped_attributes_count 10, '
            'Event* events 11, uint32 dropped_events_count 12, Link* links 13, uint32 dropped_links_count 14, Status status 15, fixed32 flags 16',
    'Event': 'fixed64 time_unix_nano 1, string name 2, KeyValue* attributes 3, uint32 dropped_attributes_count 4',
    'Link': 'bytes trace_id 1, bytes span_id 2, string trace_state 3, KeyValue* attributes 4, uint32 dropped_attributes_count 5, fixed32 flags 6',
    'Status': 'string message 2, #StatusCode code 3',
    'KeyValue': 'string key 1, AnyValue value 2',
    'AnyValue': 'string string_value 1, bool bool_value 2, int64 int_value 3, double double_value 4, ArrayValue array_value 5, '
                'KeyValueList kvlist_value 6, bytes bytes_value 7',
    'ArrayValue': 'AnyValue* values 1',
    'KeyValueList': 'KeyValue* values 1',
}
ENUMS = {
    'SpanKind': 'UNSPECIFIED INTERNAL SERVER CLIENT PRODUCER CONSUMER',
    'StatusCode': 'UNSET OK ERROR',
}
file = descriptor_pb2.FileDescriptorProto(name='otlp.proto', package='otlp', syntax='proto3')
for name, values in ENUMS.items():
    enum = file.enum_type.add(name=name)
    for number, value in enumerate(values.split()):
        enum.value.add(name=name + '_' + value, number=number)
for name, fields in MESSAGES.items():
    message = file.message_type.add(name=name)
    if name == 'AnyValue':
        message.oneof_decl.add(name='value')
    for field in fields.split(', '):
        kind, label, number = field.split()
        repeated = kind.endswith('*')
        made = message.field.add(name=label, number=int(number), label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL)
        kind = kind.rstrip('*')
        if name == 'AnyValue':
            made.oneof_index = 0
        if kind in TYPES:
            made.type = TYPES[kind]
        else:
            made.type = F.TYPE_ENUM if kind.startswith('#') else F.TYPE_MESSAGE
            made.type_name = '.otlp.' + kind.lstrip('#')
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
Request = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName('otlp.Request'))
read = sys.stdin.buffer
while True:
    head = read.read(4)
    if len(head) < 4:
        break
    try:
        request = Request()
        request.ParseFromString(read.read(struct.unpack('>I', head)[0]))
        before = request.ByteSize()
        request.DiscardUnknownFields()
        if request.ByteSize() != before:
            raise ValueError('the request has fields that the specification does not')
        answer = json_format.MessageToDict(request, including_default_value_fields=True, preserving_proto_field_name=True)
    except Exception as error:
        answer = {'error': str(error)}
    print(json.dumps(answer), flush=True)
`

type JsonValue = { string_value?: string; int_value?: string; bool_value?: boolean; double_value?: number }
type JsonAttributes = readonly { readonly key: string; readonly value: JsonValue }[]
type JsonSpan = {
  readonly trace_id: string
  readonly span_id: string
  readonly parent_span_id: string
  readonly name: string
  readonly kind: string
  readonly start_time_unix_nano: string
  readonly end_time_unix_nano: string
  readonly attributes: JsonAttributes
  readonly status?: { readonly code: string; readonly message: string }
}
type JsonRequest = {
  readonly error?: string
  readonly resource_spans: readonly {
    readonly resource: { readonly attributes: JsonAttributes }
    readonly scope_spans: readonly {
      readonly scope: { readonly name: string; readonly version: string }
      readonly spans: readonly JsonSpan[]
    }[]
  }[]
}

export type OtlpDecoder = AsyncDisposable & {
  /** Throws when `body` is no ExportTraceServiceRequest, and for fields that the specification does not know. */
  decode(body: Buffer): Promise<WireSpan[]>
}

export async function startOtlpDecoder(): Promise<OtlpDecoder> {
  const { command, env } = await pythonWithProtobuf()
  const child = spawn(command, ['-c', program], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: ((line: string) => void)[] = []
  createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.(line))
  const closed = once(child, 'close')
  child.once('close', () => {
    for (const answer of waiting) answer('{"error":"the decoder ended"}')
  })
  return {
    async decode(body) {
      const head = Buffer.alloc(4)
      head.writeUInt32BE(body.length)
      const line = new Promise<string>((resolve) => waiting.push(resolve))
      child.stdin.write(Buffer.concat([head, body]))
      const request = JSON.parse(await line) as JsonRequest
      if (request.error !== undefined) throw new Error(`not a trace request: ${request.error}`)
      return request.resource_spans.flatMap(({ resource, scope_spans }) =>
        scope_spans.flatMap(({ scope: { name, version }, spans }) =>
          spans.map((span) => ({ ...spanOf(span), resource: attributesOf(resource.attributes), scope: { name, version } })),
        ),
      )
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await closed
    },
  }
}

const hexOf = (base64: string): string => Buffer.from(base64, 'base64').toString('hex')

function spanOf(span: JsonSpan): Omit<WireSpan, 'resource' | 'scope'> {
  return {
    traceId: hexOf(span.trace_id),
    spanId: hexOf(span.span_id),
    parentSpanId: hexOf(span.parent_span_id),
    name: span.name,
    kind: span.kind.replace('SpanKind_', ''),
    startNanoseconds: BigInt(span.start_time_unix_nano),
    endNanoseconds: BigInt(span.end_time_unix_nano),
    attributes: attributesOf(span.attributes),
    status: { code: (span.status?.code ?? 'StatusCode_UNSET').replace('StatusCode_', ''), message: span.status?.message ?? '' },
  }
}

function attributesOf(attributes: JsonAttributes): Record<string, string | number | boolean> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.string_value ??
        value.bool_value ??
        value.double_value ??
        (value.int_value === undefined ? 'unreadable' : Number(value.int_value)),
    ]),
  )
}

/** The machine's own when it can `import google.protobuf`, else Debian's. */
async function pythonWithProtobuf(): Promise<{ readonly command: string; readonly env: NodeJS.ProcessEnv }> {
  const own = spawn('python3', ['-c', 'import google.protobuf'], { stdio: 'ignore' })
  if (await succeeds(own)) return { command: 'python3', env: process.env }
  const cache = fileURLToPath(new URL('../../.cache/debian', import.meta.url))
  const root = await fetchPackages('python3-protobuf', ['python3', 'python3-protobuf'], cache)
  const home = join(root, 'usr')
  const parents = [join(root, 'lib'), join(home, 'lib')]
  const folders = parents.flatMap((parent) => [join(parent, `${machine()}-linux-gnu`), parent]).filter((folder) => existsSync(folder))
  const python = { PYTHONHOME: home, PYTHONPATH: join(home, 'lib/python3/dist-packages'), PYTHONDONTWRITEBYTECODE: '1' }
  return { command: join(home, 'bin/python3'), env: { ...process.env, ...python, LD_LIBRARY_PATH: folders.join(':') } }
}

async function succeeds(child: ChildProcess): Promise<boolean> {
  try {
    await once(child, 'exit')
    return child.exitCode === 0
  } catch {
    return false // There is no python3.
  }
}

const machine = (): string => (process.arch === 'arm64' ? 'aarch64' : 'x86_64')
