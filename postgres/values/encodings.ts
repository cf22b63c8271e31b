/**
 * Text in any client encoding of PostgreSQL, as far as the platform knows it.
 *
 * Invalid bytes become U+FFFD, never an error. EUC_TW, JOHAB, MULE_INTERNAL and SQL_ASCII are read as UTF-8, because no decoder
 * for them (or, for SQL_ASCII, no meaning of their bytes) is known; so is an encoding of a name not listed here.
 */

const labels: Readonly<Record<string, string>> = {
  LATIN2: 'iso-8859-2',
  LATIN3: 'iso-8859-3',
  LATIN4: 'iso-8859-4',
  LATIN6: 'iso-8859-10',
  LATIN7: 'iso-8859-13',
  LATIN8: 'iso-8859-14',
  LATIN9: 'iso-8859-15',
  LATIN10: 'iso-8859-16',
  ISO_8859_5: 'iso-8859-5',
  ISO_8859_6: 'iso-8859-6',
  ISO_8859_7: 'iso-8859-7',
  ISO_8859_8: 'iso-8859-8',
  WIN866: 'ibm866',
  WIN874: 'windows-874',
  WIN1250: 'windows-1250',
  WIN1251: 'windows-1251',
  WIN1252: 'windows-1252',
  WIN1253: 'windows-1253',
  WIN1254: 'windows-1254',
  WIN1255: 'windows-1255',
  WIN1256: 'windows-1256',
  WIN1257: 'windows-1257',
  WIN1258: 'windows-1258',
  KOI8R: 'koi8-r',
  KOI8U: 'koi8-u',
  EUC_JP: 'euc-jp',
  EUC_JIS_2004: 'euc-jp',
  EUC_CN: 'gbk',
  EUC_KR: 'euc-kr',
  UHC: 'euc-kr',
  SJIS: 'shift_jis',
  SHIFT_JIS_2004: 'shift_jis',
  BIG5: 'big5',
  GBK: 'gbk',
  GB18030: 'gb18030',
}

const decoders = new Map<string, InstanceType<typeof TextDecoder>>()

/** `encoding` is a value of `client_encoding`. */
export function decodeText(bytes: Buffer, encoding: string): string {
  const name = encoding.toUpperCase()
  if (name === 'UTF8') return bytes.toString('utf8')
  // The web's iso-8859-1 is windows-1252, so these two go their own way.
  if (name === 'LATIN1') return bytes.toString('latin1')
  if (name === 'LATIN5') return latin5(bytes)
  const label = labels[name]
  if (label === undefined) return bytes.toString('utf8')
  let decoder = decoders.get(label)
  if (decoder === undefined) {
    decoder = new TextDecoder(label, { ignoreBOM: true })
    decoders.set(label, decoder)
  }
  return decoder.decode(bytes)
}

/** ISO 8859-9 is Latin 1 but for six Turkish letters. */
function latin5(bytes: Buffer): string {
  const letters: Readonly<Record<string, string>> = { Ð: 'Ğ', Ý: 'İ', Þ: 'Ş', ð: 'ğ', ý: 'ı', þ: 'ş' }
  return bytes.toString('latin1').replace(/[ÐÝÞðýþ]/g, (letter) => letters[letter]!)
}
