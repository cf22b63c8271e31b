/**
 * What stands in place of a SQL text that the tracker does not have. Each is in parentheses, which no statement can be, and
 * has `sqlBytes` 0.
 */
export const preparedInGap = '(prepared while the recording had a gap)'
export const sentInGap = '(sent while the recording had a gap)'
/** By a server-side language, or before the recording. */
export const preparedUnseen = '(prepared where the recording cannot see it)'
/** Too many prepared statements or portals, or too long ones, were there at the same time. */
export const noLongerKept = '(its text is no longer kept: too many were prepared at the same time)'
/** So much was sent ahead of the answers that this text was not kept. */
export const tooMuchInFlight = '(its text is not kept: too much was sent ahead of the answers)'
/** The server answered what nobody asked. */
export const unasked = '(an answer without a statement)'

/** Precedes the text of a statement prepared before a gap, in which it may have been replaced by another of the same name. */
export const preparedBeforeGap = '/* prepared before a gap in the recording */ '

/** Follows what could be read of a message whose body is not what its type says. */
export const malformed = (message: string): string => ` (malformed ${message} message)`
