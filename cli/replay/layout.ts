/**
 * Which part of the screen is whose: a bar, the list of statements, a title, the statement's detail, a status line.
 *
 * Below `bothRowsMin` rows one of list and detail is shown, the one that has the keys; below `rowsMin` or `columnsMin` nothing but a hint.
 */
export type Size = { readonly columns: number; readonly rows: number }

const rowsMin = 4
const columnsMin = 20
const bothRowsMin = 14
const listHeadRowsMin = 18
/** Bar, title, status. */
const fixedRows = 3
const listShare = 0.4

export type Layout = {
  readonly fits: boolean
  /** Whether the list has a line that names its columns. */
  readonly hasListHead: boolean
  /** Lines for statements. */
  readonly listRows: number
  readonly hasTitle: boolean
  readonly detailRows: number
}

export function layoutOf({ columns, rows }: Size, focus: 'list' | 'detail'): Layout {
  if (rows < rowsMin || columns < columnsMin) return { fits: false, hasListHead: false, listRows: 0, hasTitle: false, detailRows: 0 }
  if (rows < bothRowsMin) {
    return focus === 'list'
      ? { fits: true, hasListHead: false, listRows: rows - 2, hasTitle: false, detailRows: 0 }
      : { fits: true, hasListHead: false, listRows: 0, hasTitle: true, detailRows: rows - fixedRows }
  }
  const hasListHead = rows >= listHeadRowsMin
  const list = Math.floor((rows - fixedRows) * listShare)
  return { fits: true, hasListHead, listRows: list - (hasListHead ? 1 : 0), hasTitle: true, detailRows: rows - fixedRows - list }
}
