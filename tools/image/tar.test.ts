/** Goal: what goes in comes out, by another's tar, and the bytes depend on nothing else. Method: GNU tar unpacks; property: any order of entries. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { writeTar, type ArchiveEntry } from './tar.ts'
import { temporaryFolder } from './test-image.ts'

const long = `${'folder/'.repeat(30)}ü.txt`
const entries: ArchiveEntry[] = [
  { kind: 'file', path: 'a/program', mode: 0o755, content: Buffer.from('run') },
  { kind: 'file', path: 'a/text', mode: 0o644, content: Buffer.alloc(513, 'x') },
  { kind: 'file', path: long, mode: 0o644, content: Buffer.from('far') },
  { kind: 'file', path: 'empty', mode: 0o644, content: Buffer.alloc(0) },
  { kind: 'folder', path: 'tmp', mode: 0o1777 },
  { kind: 'folder', path: 'home', mode: 0o700, owner: 64_242 },
  { kind: 'link', path: 'link', target: 'a/text' },
  { kind: 'link', path: 'long-link', target: long },
]

test('another tar unpacks files, folders and links, with modes, long names and long targets', () => {
  using folder = temporaryFolder()
  execFileSync('tar', ['-xf', '-', '-C', folder.path, '--no-same-owner', '--same-permissions'], { input: writeTar(entries) })
  for (const entry of entries) {
    const path = join(folder.path, entry.path)
    if (entry.kind === 'link') assert.equal(readlinkSync(path), entry.target)
    else assert.equal(statSync(path).mode & 0o7777, entry.mode, entry.path)
    if (entry.kind === 'file') assert.deepEqual(readFileSync(path), entry.content)
  }
})

test('owners are numbers, times are the epoch, and folders come before what lies in them', () => {
  const listed = execFileSync('tar', ['-tvf', '-', '--numeric-owner', '--utc', '--full-time'], {
    input: writeTar(entries),
    encoding: 'utf8',
  })
  const lines = listed.trim().split('\n')
  assert.ok(
    lines.every((line) => line.includes(' 1970-01-01 00:00:00 ')),
    listed,
  )
  assert.ok(
    lines.every((line) => line.includes(line.endsWith(' home/') ? ' 64242/64242 ' : ' 0/0 ')),
    listed,
  )
  const names = lines.map((line) => line.slice(line.indexOf('00:00:00 ') + '00:00:00 '.length))
  assert.ok(names.indexOf('a/') < names.indexOf('a/program'))
})

test('any order of the entries gives the same bytes', () => {
  const expected = writeTar(entries)
  fc.assert(fc.property(fc.shuffledSubarray(entries, { minLength: entries.length }), (shuffled) => expected.equals(writeTar(shuffled))))
})

test('two entries of one name, a file used as a folder, and paths that lead out are refused', () => {
  const file = (path: string): ArchiveEntry => ({ kind: 'file', path, mode: 0o644, content: Buffer.alloc(0) })
  for (const bad of [
    [file('a'), file('a')],
    [file('a'), file('a/b')],
    [file('../a')],
    [file('/a')],
    [file('a//b')],
    [file('')],
    [file('a/.')],
  ]) {
    assert.throws(() => writeTar(bad), { code: 'BAD_ARCHIVE' })
  }
})
