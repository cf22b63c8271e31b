/**
 * The files that are made from the schemas, by their path from the project's folder. Writes nothing; `generate.ts` does.
 */
import { stringify } from 'yaml'
import { definitionOf, kinds } from './kinds.ts'
import { definitionName, pageName, referenceIndexOf, referencePageOf } from './reference-page.ts'

const note = '# Written by `node crds/generate.ts` from the schemas in crds/. Edit those.\n'

export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ...kinds.map((kind) => [`charts/steno/crds/${definitionName(kind)}`, note + yamlOf(definitionOf(kind))] as const),
    ...kinds.map((kind) => [`docs/reference/${pageName(kind)}`, referencePageOf(kind)] as const),
    ['docs/reference/README.md', referenceIndexOf(kinds)] as const,
  ])
}

/** Quoted so that readers of YAML 1.1, as kubectl and Helm are, and of 1.2 read the same; a long line is one line, to be found by a search. */
function yamlOf(definition: object): string {
  return stringify(definition, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false })
}
