/**
 * How people started this program, so that what it says names commands that they can type: `kubectl steno` runs `steno` for the commands that
 * read recordings, and tells it so by a variable.
 */
export const startedByVariable = 'STENO_STARTED_BY'
export const pluginName = 'kubectl steno'

const readingCommands = 'sessions|show|replay|search|tail|export|query|verify'

/**
 * Commands of `steno` in a text as they are typed here. In a cluster an address of the store is that of a port on this machine, gone when it
 * is read: the RecordingStore's name stands for it.
 */
export function asTyped(text: string, startedBy = process.env[startedByVariable]): string {
  if (startedBy !== pluginName) return text
  return text
    .replace(new RegExp(`(?<!kubectl )\\bsteno (?=(?:${readingCommands})\\b)`, 'g'), `${pluginName} `)
    .replace(/control\+http:\/\/127\.0\.0\.1:\d+\/([\w.-]+)/g, 'RecordingStore $1')
}
