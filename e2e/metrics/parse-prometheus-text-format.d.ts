/** The part of the package that the tests use; it brings no types of its own. */
declare module 'parse-prometheus-text-format' {
  export type Sample = {
    readonly labels?: Readonly<Record<string, string>>
    readonly value?: string
    readonly buckets?: Readonly<Record<string, string>>
    readonly count?: string
    readonly sum?: string
  }
  export type Family = {
    readonly name: string
    readonly help: string
    readonly type: string
    readonly metrics: readonly Sample[]
  }
  export default function parse(text: string): Family[]
}
