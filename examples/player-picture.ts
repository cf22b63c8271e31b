/**
 * Makes docs/images/player.svg, the picture of the player in the README, from a real run: a real PostgreSQL, an agent's session recorded
 * through `bin/steno`, `bin/steno replay` in a pseudo-terminal, and what the terminal's emulator then shows, cell by cell.
 *
 *   node examples/player-picture.ts [FILE]
 *
 * Times and ids are those of the run, so two pictures differ in digits. Needs the packages for tests; stops whatever it starts.
 */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { recordShop } from '../e2e/replay/recorded.ts'
import { startInTerminal, type TerminalProgram } from '../e2e/replay/terminal.ts'

const project = fileURLToPath(new URL('..', import.meta.url))
const size = { columns: 100, rows: 30 } as const
/** The statement that is shown: names in two scripts, bytes, NULL and the text NULL. */
const shownStatement = 9
const lastListed = 16

const cell = { width: 8.4, height: 18 } as const
const margin = 14
const fontPixels = 14
const baseline = 13.5

/** The sixteen colours of a terminal, on a dark ground. */
const palette = [
  ...['#16191d', '#f47174', '#7fc98f', '#d9b465', '#74a8e6', '#c58fdc', '#65c2c9', '#d5dae0'],
  ...['#6b737c', '#ff9a9c', '#a5e0b1', '#efd08e', '#9cc4f5', '#dcb2ec', '#91dde3', '#ffffff'],
] as const
const ground = palette[0]
const ink = palette[7]

type Look = { readonly color: string; readonly back: string; readonly bold: boolean; readonly dim: boolean; readonly italic: boolean }

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** One `<rect>` for each ground and one `<text>` for each run of cells that look alike; wide characters stand alone, so that columns hold. */
function pictureOf({ emulator }: TerminalProgram): string {
  const buffer = emulator.buffer.active
  const shapes: string[] = []
  for (let row = 0; row < emulator.rows; row++) {
    const line = buffer.getLine(row)
    if (line === undefined) continue
    let run: { from: number; to: number; text: string; look: Look } | null = null
    const end = (): void => {
      if (run === null) return
      const x = margin + run.from * cell.width
      const y = margin + row * cell.height
      const width = (run.to - run.from) * cell.width
      const { color, back, bold, dim, italic } = run.look
      if (back !== ground)
        shapes.push(`<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${cell.height}" fill="${back}"/>`)
      if (run.text.trim() !== '') {
        const style = `${bold ? ' font-weight="bold"' : ''}${italic ? ' font-style="italic"' : ''}${dim ? ' opacity="0.6"' : ''}`
        const place = `x="${x.toFixed(1)}" y="${(y + baseline).toFixed(1)}" textLength="${width.toFixed(1)}"`
        shapes.push(`<text ${place} fill="${color}"${style}>${escaped(run.text)}</text>`)
      }
      run = null
    }
    for (let column = 0; column < emulator.cols; column++) {
      const shown = line.getCell(column)
      if (shown === undefined || shown.getWidth() === 0) continue
      const plainColor = shown.isFgPalette() ? (palette[shown.getFgColor()] ?? ink) : ink
      const plainBack = shown.isBgPalette() ? (palette[shown.getBgColor()] ?? ground) : ground
      const [color, back] = shown.isInverse() !== 0 ? [plainBack, plainColor] : [plainColor, plainBack]
      const look = { color, back, bold: shown.isBold() !== 0, dim: shown.isDim() !== 0, italic: shown.isItalic() !== 0 }
      const text = shown.getChars() === '' ? ' ' : shown.getChars()
      const isPlain = /^[\x20-\x7e]$/.test(text)
      const last: { look: Look; to: number; text: string } | null = run
      if (last !== null && isPlain && JSON.stringify(last.look) === JSON.stringify(look)) {
        last.to = column + 1
        last.text += text
        continue
      }
      end()
      run = { from: column, to: column + shown.getWidth(), text, look }
      if (!isPlain) end()
    }
    end()
  }
  const width = size.columns * cell.width + 2 * margin
  const height = size.rows * cell.height + 2 * margin
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="steno replay: a recorded session in the player">
<rect width="${width}" height="${height}" rx="8" fill="${ground}"/>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="${fontPixels}" xml:space="preserve" style="white-space: pre">
${shapes.join('\n')}
</g>
</svg>
`
}

async function takePicture(folder: string): Promise<string> {
  const storeUrl = await recordShop(folder)
  await using player = startInTerminal({
    command: path.join(project, 'bin/steno'),
    arguments: ['replay', 'last', '--store', storeUrl],
    ...size,
  })
  // Further down and back, so that what failed behind it is in the list as well.
  await player.until('1/')
  player.type(`:${lastListed}\r`)
  await player.until(`#${lastListed}, `)
  player.type(`:${shownStatement}\r`)
  await player.until((screen) => screen.includes(`#${shownStatement}, `) && screen.includes('(3 rows)') && !screen.includes('being read'))
  const picture = pictureOf(player)
  player.type('q')
  await player.ended()
  return picture
}

const file = process.argv[2] ?? path.join(project, 'docs/images/player.svg')
const folder = mkdtempSync(path.join(tmpdir(), 'steno-picture-'))
try {
  const picture = await takePicture(folder)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, picture)
  process.stdout.write(`${file}: ${size.columns} by ${size.rows} cells\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
