/** Everything for reading recordings back, in one place for the commands: find, list, read. */
export { findSession, placeOfStore, sessionIds, SessionAmbiguous, SessionNotFound } from './find-session.ts'
export { listSessions, stateWithoutEnd, type SessionState, type SessionSummary } from './list-sessions.ts'
export { createLostSessions, type LostPart } from './lost-sessions.ts'
export { readIdentity, readRecords, readSessionManifest, readStatements, RecordingDamaged } from './session-content.ts'
