/** Goal: the libraries are those that the loader itself would load. Method: compares with ldd, which asks the loader; and files that fit nothing. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { librariesOf, type Processor } from './shared-libraries.ts'
import { temporaryFolder } from './test-image.ts'

const own: Processor = process.arch === 'arm64' ? 'arm64' : 'amd64'
const other: Processor = own === 'arm64' ? 'amd64' : 'arm64'

test('of Node and of the machine’s tar they are what ldd says', { skip: process.platform !== 'linux' }, () => {
  for (const program of [process.execPath, '/bin/tar']) {
    const printed = execFileSync('/usr/bin/ldd', [program], { encoding: 'utf8' })
    const byLdd = [...printed.matchAll(/(?:^|=> |\t)(\/[^ ]+) \(/gm)].map(([, path = '']) => realpathSync(path))
    assert.ok(byLdd.length > 2)
    const [, interpreter = ''] = /^\t(\/[^ ]+) \(/m.exec(printed) ?? []
    const libraries = librariesOf(program, own, '/')
    assert.ok(libraries.includes(interpreter), 'the kernel starts the loader by this path')
    const found = new Set(libraries.map((path) => realpathSync(path)))
    assert.deepEqual([...found].sort(), [...new Set(byLdd)].sort())
  }
})

test('a program of another processor, a text, a missing library are each named', () => {
  using folder = temporaryFolder()
  const text = join(folder.path, 'text')
  writeFileSync(text, '#!/bin/sh\n'.repeat(20))
  assert.throws(() => librariesOf(process.execPath, other, '/'), { code: 'LIBRARY_UNUSABLE', message: new RegExp(other) })
  assert.throws(() => librariesOf(text, own, '/'), { code: 'LIBRARY_UNUSABLE', message: /text is no program/ })
  assert.throws(() => librariesOf(process.execPath, own, folder.path), { code: 'LIBRARY_UNUSABLE', message: /\.so.* is in none of/ })
})
