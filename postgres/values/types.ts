/**
 * The built-in types: OID, name, the OID of the array of it (0 for none), and the decoder of its binary form.
 *
 * Every type of `pg_catalog` that has a binary form and an OID fixed in the source (below 10,000) is here, up to PostgreSQL 18.
 * Not printed as psql does: reg* types, whose binary form is a bare OID that only the server's catalogue can name, are shown as that
 * number; pg_ndistinct and pg_dependencies, pg_brin_* summaries, which are sent as bytes of a private layout, are shown in hexadecimal.
 * Row types of system views have OIDs that differ between installations: `text-of.ts` knows a record by its structure.
 */
import { arrayText, multirangeText, rangeText, recordText, vectorText } from './containers.ts'
import { dateText, timestampText, timestamptzText, timeText, timetzText } from './dates.ts'
import type { Decoder } from './decoder.ts'
import { boxText, circleText, lineText, lsegText, pathText, pointText, polygonText } from './geometry.ts'
import { intervalText } from './intervals.ts'
import { cidrText, inetText, macaddr8Text, macaddrText } from './network.ts'
import { boolText, float4Text, float8Text, int2Text, int4Text, int8Text, moneyText, numericText, uint4Text, uint8Text } from './numbers.ts'
import { bitsText, byteaText, charText, plainText, uuidText, versionedText, voidText, xmlText } from './strings.ts'
import { lsnText, snapshotText, tidText } from './system.ts'
import { tsqueryText, tsvectorText } from './text-search.ts'

const table: readonly (readonly [oid: number, name: string, arrayOid: number, decoder: Decoder])[] = [
  [16, 'bool', 1000, boolText],
  [17, 'bytea', 1001, byteaText],
  [18, 'char', 1002, charText],
  [19, 'name', 1003, plainText],
  [20, 'int8', 1016, int8Text],
  [21, 'int2', 1005, int2Text],
  [22, 'int2vector', 1006, vectorText],
  [23, 'int4', 1007, int4Text],
  [24, 'regproc', 1008, uint4Text],
  [25, 'text', 1009, plainText],
  [26, 'oid', 1028, uint4Text],
  [27, 'tid', 1010, tidText],
  [28, 'xid', 1011, uint4Text],
  [29, 'cid', 1012, uint4Text],
  [30, 'oidvector', 1013, vectorText],
  [71, 'pg_type', 210, recordText],
  [75, 'pg_attribute', 270, recordText],
  [81, 'pg_proc', 272, recordText],
  [83, 'pg_class', 273, recordText],
  [114, 'json', 199, plainText],
  [142, 'xml', 143, xmlText],
  [194, 'pg_node_tree', 0, plainText],
  [600, 'point', 1017, pointText],
  [601, 'lseg', 1018, lsegText],
  [602, 'path', 1019, pathText],
  [603, 'box', 1020, boxText],
  [604, 'polygon', 1027, polygonText],
  [628, 'line', 629, lineText],
  [650, 'cidr', 651, cidrText],
  [700, 'float4', 1021, float4Text],
  [701, 'float8', 1022, float8Text],
  [705, 'unknown', 0, plainText],
  [718, 'circle', 719, circleText],
  [774, 'macaddr8', 775, macaddr8Text],
  [790, 'money', 791, moneyText],
  [829, 'macaddr', 1040, macaddrText],
  [869, 'inet', 1041, inetText],
  [1042, 'bpchar', 1014, plainText],
  [1043, 'varchar', 1015, plainText],
  [1082, 'date', 1182, dateText],
  [1083, 'time', 1183, timeText],
  [1114, 'timestamp', 1115, timestampText],
  [1184, 'timestamptz', 1185, timestamptzText],
  [1186, 'interval', 1187, intervalText],
  [1248, 'pg_database', 0, recordText],
  [1266, 'timetz', 1270, timetzText],
  [1560, 'bit', 1561, bitsText],
  [1562, 'varbit', 1563, bitsText],
  [1700, 'numeric', 1231, numericText],
  [1790, 'refcursor', 2201, plainText],
  [2202, 'regprocedure', 2207, uint4Text],
  [2203, 'regoper', 2208, uint4Text],
  [2204, 'regoperator', 2209, uint4Text],
  [2205, 'regclass', 2210, uint4Text],
  [2206, 'regtype', 2211, uint4Text],
  [2249, 'record', 2287, recordText],
  [2275, 'cstring', 1263, plainText],
  [2278, 'void', 0, voidText],
  [2842, 'pg_authid', 0, recordText],
  [2843, 'pg_auth_members', 0, recordText],
  [2950, 'uuid', 2951, uuidText],
  [2970, 'txid_snapshot', 2949, snapshotText],
  [3220, 'pg_lsn', 3221, lsnText],
  [3361, 'pg_ndistinct', 0, byteaText],
  [3402, 'pg_dependencies', 0, byteaText],
  [3614, 'tsvector', 3643, tsvectorText],
  [3615, 'tsquery', 3645, tsqueryText],
  [3734, 'regconfig', 3735, uint4Text],
  [3769, 'regdictionary', 3770, uint4Text],
  [3802, 'jsonb', 3807, versionedText],
  [3904, 'int4range', 3905, rangeText(23)],
  [3906, 'numrange', 3907, rangeText(1700)],
  [3908, 'tsrange', 3909, rangeText(1114)],
  [3910, 'tstzrange', 3911, rangeText(1184)],
  [3912, 'daterange', 3913, rangeText(1082)],
  [3926, 'int8range', 3927, rangeText(20)],
  [4066, 'pg_shseclabel', 0, recordText],
  [4072, 'jsonpath', 4073, versionedText],
  [4089, 'regnamespace', 4090, uint4Text],
  [4096, 'regrole', 4097, uint4Text],
  [4191, 'regcollation', 4192, uint4Text],
  [4451, 'int4multirange', 6150, multirangeText(23)],
  [4532, 'nummultirange', 6151, multirangeText(1700)],
  [4533, 'tsmultirange', 6152, multirangeText(1114)],
  [4534, 'tstzmultirange', 6153, multirangeText(1184)],
  [4535, 'datemultirange', 6155, multirangeText(1082)],
  [4536, 'int8multirange', 6157, multirangeText(20)],
  [4600, 'pg_brin_bloom_summary', 0, byteaText],
  [4601, 'pg_brin_minmax_multi_summary', 0, byteaText],
  [5017, 'pg_mcv_list', 0, byteaText],
  [5038, 'pg_snapshot', 5039, snapshotText],
  [5069, 'xid8', 271, uint8Text],
  [6101, 'pg_subscription', 0, recordText],
]

export type BuiltInType = { readonly name: string; readonly decoder: Decoder }

const types = new Map<number, BuiltInType>()
for (const [oid, name, arrayOid, decoder] of table) {
  types.set(oid, { name, decoder })
  if (arrayOid !== 0) types.set(arrayOid, { name: `${name}[]`, decoder: arrayText })
}
// Pseudo-types that `pg_statistic` and array functions send.
for (const [oid, name] of [
  [2277, 'anyarray'],
  [5078, 'anycompatiblearray'],
] as const)
  types.set(oid, { name, decoder: arrayText })

/** Undefined for the types of extensions and users, and for built-in ones of a later PostgreSQL. */
export function builtInType(oid: number): BuiltInType | undefined {
  return types.get(oid)
}

/** The name by which people know a type; `oid 16385` for one that only the database could name. */
export function typeName(oid: number): string {
  if (oid === 0) return 'unspecified'
  return types.get(oid)?.name ?? `oid ${oid}`
}

const rightAligned = new Set([20, 21, 23, 26, 28, 29, 700, 701, 790, 1700, 5069])

/** True for the types that psql prints on the right of their column. */
export function isRightAligned(oid: number): boolean {
  return rightAligned.has(oid)
}
