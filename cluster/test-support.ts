/** Small things that the tests of the webhook's runtime share. */
import { pino } from 'pino'
import type { Log } from '../base/log.ts'

/** A log that keeps its lines. */
export function testLog(): { readonly log: Log; readonly lines: { level: string; msg: string; [name: string]: unknown }[] } {
  const lines: { level: string; msg: string }[] = []
  const write = (line: string): void => void lines.push(JSON.parse(line) as { level: string; msg: string })
  const log = pino({ level: 'debug', base: null, formatters: { level: (label) => ({ level: label }) } }, { write })
  return { log, lines }
}

const untilMillisecondsMax = 90_000

/** Waits until `isSo`. @throws after a minute and a half, which no test should need */
export async function until(isSo: () => boolean): Promise<void> {
  const begun = performance.now()
  while (!isSo()) {
    if (performance.now() - begun > untilMillisecondsMax) throw new Error(`it never came: ${isSo.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/**
 * Waits until `count` has stayed the same over some turns of the event loop, whose length in time says nothing: a busy machine may hold this
 * process up for any time, and what is sent over loopback meanwhile is only seen in the turns that follow.
 */
export async function untilQuiet(count: () => number, { turns = 20 }: { readonly turns?: number } = {}): Promise<void> {
  for (let [quiet, before] = [0, -1]; quiet < turns; quiet = before === count() ? quiet + 1 : 0) {
    before = count()
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
