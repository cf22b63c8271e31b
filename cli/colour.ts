/**
 * Whether output is coloured, and how: `--color` decides; without it FORCE_COLOR, then NO_COLOR, then whether a terminal that can is at the
 * other end.
 *
 * Colours only ever repeat what the text says. Texts from recordings have to be made printable before they come here.
 * Source: https://no-color.org, https://force-color.org.
 */
import { styleText } from 'node:util'

export const colourChoices = ['auto', 'always', 'never'] as const
export type ColourChoice = (typeof colourChoices)[number]

/** What every command has in its options, since `main.ts` adds it. */
export type ColourOptions = { readonly color?: ColourChoice }

export type Palette = {
  readonly isOn: boolean
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  yellow(text: string): string
  green(text: string): string
}

type Environment = Readonly<Record<string, string | undefined>>

export function hasColour(choice: ColourChoice | undefined, stream: { readonly isTTY?: boolean }, environment: Environment): boolean {
  if (choice === 'always') return true
  if (choice === 'never') return false
  const forced = environment['FORCE_COLOR']
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false'
  if ((environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb') return false
  return stream.isTTY === true
}

/** For what goes to `stream`, or to the pager that stands before it. No colours where nobody was asked, as when a test calls a command. */
export function paletteFor(
  { color }: ColourOptions,
  stream: { readonly isTTY?: boolean } = process.stdout,
  environment: Environment = process.env,
): Palette {
  return palette(color !== undefined && hasColour(color, stream, environment))
}

export function palette(isOn: boolean): Palette {
  const painter =
    (format: 'bold' | 'dim' | 'red' | 'yellow' | 'green') =>
    (text: string): string =>
      isOn && text !== '' ? styleText(format, text, { validateStream: false }) : text
  return { isOn, bold: painter('bold'), dim: painter('dim'), red: painter('red'), yellow: painter('yellow'), green: painter('green') }
}
