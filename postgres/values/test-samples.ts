/** Values of every built-in type to print, as SQL expressions: edges first, and expressions that make random ones. For tests. */

const texts = ["''", "'a'", "'NULL'", "'nUlL'", `'a"b\\c{},; ()[]'`, "e'tab\\tline\\nend'", "'日本語 ünï 🎉'", "' '", "e'\\u00a0'", "repeat('x', 300)"]
const json = [`'{}'`, `'[1, 2.50, null, "ü\\u0001"]'`, `'{"b": 1, "a": {"c": [true, false]}}'`, `'"text"'`, `'1e400'`]
const oids = ["'0'", "'26'", "'4294967295'"]

/** Each entry is an expression that is cast to the type of its key. */
export const samples: Readonly<Record<string, readonly string[]>> = {
  bool: ["'t'", "'f'"],
  bytea: ["''", "'\\x00ff10'", "'\\x5c27'", "convert_to('abc', 'UTF8')"],
  char: ["''", "'a'", "' '", "'\\200'", "'\\377'", `'"'`, "','"],
  name: [...texts.slice(0, 8)],
  text: texts,
  varchar: texts,
  bpchar: [...texts, "'padded  '"],
  unknown: texts.slice(1, 7),
  cstring: texts,
  refcursor: texts,
  int2: ["'-32768'", "'0'", "'32767'"],
  int4: ["'-2147483648'", "'0'", "'2147483647'"],
  int8: ["'-9223372036854775808'", "'0'", "'9223372036854775807'"],
  int2vector: ["''", "'1'", "'1 -2 3'"],
  oidvector: ["''", "'1'", "'1 4294967295 3'"],
  oid: oids,
  xid: oids,
  cid: oids,
  xid8: ["'0'", "'18446744073709551615'"],
  tid: ["'(0,0)'", "'(4294967295,65535)'"],
  pg_lsn: ["'0/0'", "'16/B374D848'", "'FFFFFFFF/FFFFFFFF'"],
  pg_snapshot: ["'10:20:10,14,15'", "'10:10:'", "pg_current_snapshot()"],
  txid_snapshot: ["'10:20:10,14,15'", "'1:1:'"],
  float4: [
    ...["'0'", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "'1e-45'", "'3.4028235e38'", "'1.1754944e-38'", "'0.1'", "'1e5'", "'1e6'", "'123456'"],
    ...["'999999'", "'1234567'", "'0.0001'", "'0.00001'", "'-1.5'", "'16777216'", "'8.5e9'"],
    "unnest(array(select (2::float8 ^ n)::float4 from generate_series(-149, 127) n))",
    "unnest(array(select (random() * 10::float8 ^ (random() * 70 - 35))::float4 from generate_series(1, 2000)))",
    "unnest(array(select (10::float8 ^ n)::float4 from generate_series(-38, 38) n))",
  ],
  float8: [
    ...["'0'", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "'5e-324'", "'1.7976931348623157e308'", "'2.2250738585072014e-308'", "'0.1'", "'1e14'"],
    ...["'1e15'", "'123456789012345'", "'1234567890123456'", "'0.0001'", "'0.00001'", "'1e23'", "'9007199254740993'", "'-1e23'", "'1e22'", "'1.5e300'"],
    "unnest(array(select 2::float8 ^ n from generate_series(-1022, 1023) n))",
    "unnest(array(select (m::text || 'e' || n)::float8 from generate_series(-30, 45) n, generate_series(1, 99) m))",
    "unnest(array(select random() * 10::float8 ^ (random() * 600 - 300) from generate_series(1, 3000)))",
  ],
  numeric: [
    ...["'0'", "'0.00'", "'NaN'", "'Infinity'", "'-Infinity'", "'-0.001'", "'1'", "'10000'", "'99999999.99990'", "'-12345678901234567890.12345678901234567890'"],
    ...["'1e1000'", "'1e-1000'", "'0.0000000001'", "'1e131071'", "'100000000'", "'0.00010000'"],
    "unnest(array(select round((random() * 10::numeric ^ (random() * 40)::int)::numeric, (random() * 30)::int) from generate_series(1, 500)))",
  ],
  money: ["'0'", "'0.01'", "'-0.05'", "'999.99'", "'1000'", "'-1234567.89'", "'92233720368547758.07'", "'-92233720368547758.08'"],
  json,
  jsonb: json,
  jsonpath: [`'$'`, `'$.a[*] ? (@ > 1)'`, `'strict $."ü"'`],
  xml: [`'<a>ü</a>'`, `'<?xml version="1.0"?><a/>'`, `'<?xml version="1.0" standalone="yes"?><a/>'`, `'text'`, `'<?xml version="1.0" encoding="UTF-8"?><b/>'`],
  pg_node_tree: ["(select conbin from pg_constraint where conbin is not null limit 1)"],
  uuid: ["'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()"],
  bit: ["B''", "B'1'", "B'10101010'", "B'101010101'"],
  varbit: ["B''", "B'1'", "B'1111000011110000'", "B'0101'"],
  date: [
    ...["'infinity'", "'-infinity'", "'2000-01-01'", "'1970-01-01'", "'4713-01-01 BC'", "'0001-01-01'", "'0001-12-31 BC'", "'5874897-12-31'", "'2024-02-29'", "'1900-02-28'"],
    "unnest(array(select '4000-01-01 BC'::date + (random() * 4000000)::int from generate_series(1, 500)))",
  ],
  time: ["'00:00'", "'24:00'", "'23:59:59.999999'", "'12:30:00.5'"],
  timetz: ["'00:00+00'", "'24:00-15:59'", "'12:30:00.5+05:30'", "'1:2:3.000001-00:00:30'"],
  timestamp: [
    ...["'infinity'", "'-infinity'", "'2000-01-01'", "'1999-12-31 23:59:59.999999'", "'4713-01-01 BC'", "'294276-12-31 23:59:59.999999'", "'2024-02-29 12:00:00.1'"],
    "unnest(array(select '3000-01-01 BC'::timestamp + random() * interval '7000 years' from generate_series(1, 500)))",
  ],
  timestamptz: [
    ...["'infinity'", "'-infinity'", "'2000-01-01 UTC'", "'1999-12-31 23:59:59.999999 UTC'", "'4713-01-02 UTC BC'", "'294276-12-31 00:00:00 UTC'", "'280000-07-01 UTC'"],
    ...["'2024-03-31 00:59:59.5 UTC'", "'2024-03-31 01:00 UTC'", "'2024-10-27 00:30 UTC'", "'2024-10-27 01:30 UTC'", "'1800-01-01 UTC'", "'0044-03-15 UTC BC'"],
    "unnest(array(select '1972-01-01 UTC'::timestamptz + random() * interval '60 years' from generate_series(1, 300)))",
  ],
  interval: [
    ...["'0'", "'infinity'", "'-infinity'", "'1 year'", "'-1 year'", "'1 year -1 mon'", "'-1 year 1 mon 2 days'", "'1 mon -1 day'", "'-1 day 1:00'", "'1 day'", "'-1 day'"],
    ...["'1:00'", "'-1:00'", "'0.5 sec'", "'-0.000001 sec'", "'1 sec'", "'-1 sec'", "'1 mon 1:02:03.4'", "'1 day -0.5 sec'", "'-1 mon 0.5 sec'", "'-1 mon -0.5 sec'", "'178000000 years'"],
    ...["'2562047788:00:54.775807'", "'2147483647 days'", "'13 mons 2 days 3:04:05.678901'", "'-13 mons -2 days -3:04:05.678901'", "'1 min'", "'-1 min 1 sec'", "'59 min 60 sec'"],
    `unnest(array(select make_interval(months => (random() * 40 - 20)::int * (random() * 2)::int, days => (random() * 40 - 20)::int * (random() * 2)::int,
      secs => (random() * 20000 - 10000) * (random() * 2)::int) from generate_series(1, 1000)))`,
  ],
  inet: [
    ...["'0.0.0.0'", "'1.2.3.4'", "'1.2.3.4/24'", "'10.0.0.0/0'", "'::'", "'::1'", "'::1/0'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'2001:db8::1/64'", "'1:0:0:2:0:0:0:3'"],
    ...["'1:2:3:4:5:6:7:8'", "'fe80::'", "'0:1:2:3:4:5:6:7'", "'::2'", "'::1:0'", "'1:2:3:4:5:6:7:0'", "'1:2:3:4:5:6::'", "'0:0:1::'"],
    "unnest(array(select (select string_agg(case when random() < 0.5 then '0' else to_hex((random() * 65535)::int) end, ':') from generate_series(1, 8) where g > 0)::inet from generate_series(1, 500) g))",
  ],
  cidr: ["'10.0.0.0/8'", "'1.2.3.4/32'", "'0.0.0.0/0'", "'::/0'", "'2001:db8::/32'", "'::1'"],
  macaddr: ["'00:00:00:00:00:00'", "'08:00:2b:01:02:ff'"],
  macaddr8: ["'00:00:00:00:00:00:00:00'", "'08:00:2b:01:02:03:04:ff'"],
  point: ["'(0,0)'", "'(-1.5,1e300)'", "'(NaN,Infinity)'"],
  line: ["'{1,2,3}'", "'{-1,0,0.1}'"],
  lseg: ["'[(0,0),(1,1.5)]'"],
  box: ["'(0,0),(1,1)'", "'(5,-3),(2,9)'"],
  path: ["'((0,0),(1,1),(2,0))'", "'[(0,0),(1,1)]'", "'[(1,1)]'"],
  polygon: ["'((0,0),(1,1),(2,0))'", "'((1,1))'"],
  circle: ["'<(0,0),1>'", "'<(1.5,-2),0>'"],
  tsvector: ["''", "'a'", `'a:1A,2B,3C,4 b:16383'`, `'''quo''''te'' \\\\back'`, "to_tsvector('english', 'The quick brown fox jumps over the lazy dog, ünï')"],
  tsquery: [
    ...["''", "'a'", "'a & b | c'", "'a & (b | c)'", "'!(a & b)'", "'!a <-> b'", "'a <-> (b <-> c)'", "'(a <-> b) <-> c'", "'a <3> b & !c:*AB'", "'!!a'"],
    ...["'a:ABCD'", "'(a | b) <-> (c & d)'", "'!(a | b) & !c'", `'''it''''s'' & ''b\\\\c'''`],
    "(select string_agg('w' || n, ' & ') from generate_series(1, 500) n)",
  ],
  int4range: ["'empty'", "'[1,5)'", "'(,5)'", "'[1,)'", "'(,)'"],
  int8range: ["'empty'", "'[1,5)'", "'(,)'"],
  numrange: ["'empty'", "'[1.50,5.0]'", "'(1,5)'", "'[-Infinity,NaN]'"],
  tsrange: ["'[2000-01-01 00:00,2001-01-01 12:00:00.5)'", "'(,infinity]'"],
  tstzrange: ["'[2000-01-01 00:00 UTC,2001-07-01 12:00:00.5 UTC)'", "'(,infinity]'"],
  daterange: ["'[2000-01-01,2001-01-01)'", "'empty'", "'[infinity,infinity]'"],
  int4multirange: ["'{}'", "'{[1,5)}'", "'{[1,5),[7,)}'"],
  int8multirange: ["'{}'", "'{[1,5),[7,9)}'"],
  nummultirange: ["'{}'", "'{[1.0,5),(7,9]}'"],
  tsmultirange: ["'{}'", "'{[2000-01-01,2001-01-01),[2002-01-01,)}'"],
  tstzmultirange: ["'{}'", "'{[2000-01-01 UTC,2001-01-01 UTC),[2002-01-01 UTC,)}'"],
  datemultirange: ["'{}'", "'{[2000-01-01,2001-01-01),[2002-01-01,)}'"],
}

/** Whole expressions, their type is their own: containers within containers, and types that users define. */
export const composed: readonly string[] = [
  "'{}'::int4[]",
  "'[0:1][-2:0]={{1,2,3},{4,NULL,6}}'::int4[]",
  "array[[['a','b'],['c','']]]::text[]",
  `array['NULL', null, 'null', '', ' ', 'a b', '"', '\\', '{', '}', ',', ';', e'\\n', e'\\v', e'\\u00a0', 'ü']`,
  "array['(1,1),(0,0)', null, '(3,3),(2,2)']::box[]",
  "array[[array[1]::text]]",
  "row()",
  "row(1)",
  "row(null, '', 'a', 'a b', '\"', '\\', '(', ')', ',', e'\\n', 'ü', e'\\u00a0')",
  "row(1, row(2.50, row(null, array[row(1, 'x y'), row(null, null)])), '{[1,2)}'::int4multirange, '2000-01-01 UTC'::timestamptz)",
  "array[row(1, 'a'), null]",
  "'happy'::steno_mood",
  "array['happy', 'so so', null]::steno_mood[]",
  "row(1, 'a b', '{1,2}')::steno_pair",
  "array[row(1, 'a b', '{1,2}')::steno_pair]",
  "'-5'::steno_domain",
  "(select f from pg_opfamily f order by oid limit 1)",
  "array(select f from pg_opfamily f order by oid)",
  "array(select n from generate_series(1, 1000) n)",
]

export const definitions = `
  create type steno_mood as enum ('happy', 'so so');
  create type steno_pair as (number int, word text, list int[]);
  create domain steno_domain as int4 check (value < 0);
`
