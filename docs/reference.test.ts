/**
 * Goal: what the pages list is what the source has: error codes, findings, metrics, options, links.
 * Method: reads the source as text, or asks it, and compares names in both directions.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { command as proxyCommand } from '../cli/proxy.ts'
import { errorCodes, warningCodes } from '../session/verify.ts'

const project = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(path.join(project, file), 'utf8')

/** The files below `folder`, as paths from the project's folder. */
function filesBelow(folder: string): string[] {
  return readdirSync(path.join(project, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(project, path.join(entry.parentPath, entry.name)))
}

/** What stands in backticks in the first column of a page's tables. */
function listed(page: string): string[] {
  return [...page.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
}

test('docs/errors.md has every code of a KnownError, and no other', () => {
  const folders = [
    'base',
    'postgres',
    'session',
    'sidecar',
    'crds',
    'injection',
    'cluster',
    'relay',
    'webhook',
    'cli',
    'tools',
    'bench',
    'examples',
    'e2e',
  ]
  const sources = folders.flatMap(filesBelow).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  const codes = sources.flatMap((file) => [...read(file).matchAll(/\breadonly code = '(\w+)'/g)].map(([, code = '']) => code))
  assert.ok(codes.length > 30)
  assert.deepEqual(listed(read('docs/errors.md')).sort(), codes.sort())
})

test('docs/recording.md has every finding of verify with its meaning', () => {
  const page = read('docs/recording.md')
  for (const [code, meaning] of Object.entries({ ...errorCodes, ...warningCodes })) {
    assert.ok(page.includes(`| \`${code}\` | ${meaning} |`), `${code}: ${meaning}`)
  }
  const codes = new Set([...Object.keys(errorCodes), ...Object.keys(warningCodes)])
  for (const name of listed(page)) assert.ok(codes.has(name), `verify finds no ${name}`)
})

test('docs/operating.md has every option of the proxy, and no other', () => {
  const page = read('docs/operating.md')
  const options = proxyCommand().options
  const documented = listed(page).filter((name) => name.startsWith('--'))
  assert.deepEqual(documented.sort(), options.map(({ long }) => long ?? '').sort())
  for (const { long, defaultValue } of options) {
    if (typeof defaultValue === 'number') assert.match(page, new RegExp(`^\\| \`${long}\` \\| ${defaultValue} \\|`, 'm'))
  }
})

test('docs/decisions/dependencies.md has every package that steno runs with, and its licence', () => {
  const page = read('docs/decisions/dependencies.md')
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
  assert.deepEqual(listed(page).sort(), Object.keys(dependencies).sort())
  for (const name of Object.keys(dependencies)) {
    const { license } = JSON.parse(read(`node_modules/${name}/package.json`)) as { license: string }
    assert.match(page, new RegExp(`^\\| \`${name}\` \\|[^|]*\\| ${license} \\|`, 'm'))
  }
})

test('every link between pages leads to a file, and to a heading that is there', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'bench/README.md',
    'session/FORMAT.md',
    ...filesBelow('docs').filter((file) => file.endsWith('.md')),
  ]
  const broken: string[] = []
  for (const page of pages) {
    // What stands in backticks is code: a pattern there can look like a link.
    const text = read(page).replaceAll(/`[^`\n]*`/g, '')
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [file = '', anchor] = target.split('#')
      const found = file === '' ? page : path.join(path.dirname(page), file)
      if (!existsSync(path.join(project, found))) broken.push(`${page}: ${target}`)
      else if (anchor !== undefined && !anchorsOf(read(found)).includes(anchor)) broken.push(`${page}: ${target}`)
    }
  }
  assert.deepEqual(broken, [])
})

/** Headings as GitHub names them. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
}
