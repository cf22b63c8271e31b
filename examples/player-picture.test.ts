/**
 * Goal: the picture in the README can be made again, and shows what the player shows.
 * Method: makes one, and compares it with the committed one in everything but times, ids and where runs of digits end.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const project = fileURLToPath(new URL('..', import.meta.url))

/** The picture's rows as text, without what differs with every run. */
function rowsOf(picture: string): string[] {
  const rows = new Map<string, string>()
  for (const [, y = '', text = ''] of picture.matchAll(/<text x="[\d.]+" y="([\d.]+)"[^>]*>([^<]*)<\/text>/g))
    rows.set(y, (rows.get(y) ?? '') + text)
  return [...rows.values()].map((row) =>
    row
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?/g, '<when>')
      .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
      .replace(/ *\+\d+\.\d{3} s/g, ' <at>')
      .replace(/ *\d+(?:\.\d+)? m?s\b/g, ' <took>')
      .replace(/records +\d+ to \d+/, 'records <places>')
      .trimEnd(),
  )
}

test('the script makes the picture that is committed', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'picture-'))
  try {
    const file = path.join(folder, 'player.svg')
    execFileSync(process.execPath, ['examples/player-picture.ts', file], { cwd: project, stdio: ['ignore', 'ignore', 'inherit'] })
    const made = readFileSync(file, 'utf8')
    assert.deepEqual(rowsOf(made), rowsOf(readFileSync(path.join(project, 'docs/images/player.svg'), 'utf8')))
    assert.ok(rowsOf(made).some((row) => row.includes('Anna Bērziņa')))
    // An image on a web page runs nothing and loads nothing.
    assert.doesNotMatch(made, /<script|<image|<foreignObject|href|url\(|[\0-\x08\x0b-\x1f]/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
