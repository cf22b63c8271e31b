/** The live view on this process's standard output; what goes wrong with it is in the log. */
import type { LiveViewSettings } from '../settings.ts'
import { openStandardOutput } from './live-stdout.ts'
import { createLiveView, type LiveView } from './live-view.ts'
import type { LiveNotice } from './live-output.ts'

export function startLiveView(
  settings: LiveViewSettings,
  warn: (text: string, fields?: Record<string, string | number>) => void,
): LiveView {
  const output = openStandardOutput()
  const live = createLiveView({ settings, write: (bytes) => output.write(bytes), onNotice: (notice) => warn(...warningOf(notice)) })
  return {
    ...live,
    observer: {
      ...live.observer,
      async end() {
        await live.observer.end()
        output.close()
      },
    },
  }
}

function warningOf(notice: LiveNotice): [text: string, fields?: Record<string, string | number>] {
  switch (notice.kind) {
    case 'dropping':
      return ['standard output takes nothing more: lines of the live view are left out until it does']
    case 'lost':
      return ['lines of the live view were left out, and standard output could not be told', { lines: notice.lines }]
    case 'gone':
      return [`standard output cannot be written any more, and the live view ends: ${notice.why}`]
    default:
      return notice satisfies never
  }
}
