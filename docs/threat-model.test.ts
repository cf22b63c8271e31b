/**
 * Goal: no claim of the threat model stands without a test that exists. Method: reads the page as text; every row of a table of claims must link to a
 * test, every link must lead to one, and every attacker must have said of him what does not hold.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

const docs = import.meta.dirname
const page = readFileSync(path.join(docs, 'threat-model.md'), 'utf8')

/** Rows of all tables whose last column is called `test`. */
function claims(): string[][] {
  return page.split(/\n\n/).flatMap((block) => {
    const [head = '', , ...rows] = block.split('\n')
    if (!head.endsWith('| test |')) return []
    return rows.map((row) => row.split(' | ').map((cell) => cell.replaceAll(/^\| | \|$/g, '')))
  })
}

test('each claim has a test, and each of these is there', () => {
  const rows = claims()
  assert.ok(rows.length > 35)
  for (const row of rows) {
    assert.equal(row.length, 3, row.join(' | '))
    const links = [...(row[2] ?? '').matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link)
    assert.ok(links.length > 0, `no test: ${row[0]}`)
    for (const link of links) {
      assert.match(link, /\.test\.ts$/, link)
      assert.ok(existsSync(path.join(docs, link)), `${link} is not there`)
    }
  }
})

test('each attacker is told apart: what holds, and what does not', () => {
  for (const [, section = ''] of page.matchAll(
    /\n## (?:The agent|A namespace editor|A namespace admin|Who stole|A network|Who can write|Steno's own)([\s\S]*?)(?=\n## |$)/g,
  ))
    assert.match(section, /\|[\s\S]*[Ww]hat does not hold/)
  for (const left of ['DNS', 'SessionPolicies', 'cluster-admin', 'root on a node', 'authority', 'plain hop'])
    assert.ok(page.includes(left), left)
})
