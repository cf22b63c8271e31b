/**
 * Works on several items at once and gives what comes of them in the items' order.
 *
 * Up to `atOnce` items are under way, each up to the first thing it yields: so what is held is one result per item, and a long item
 * that is not yet its turn waits. A caller that stops early ends them all.
 */

export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  atOnce: number,
  work: (item: Item) => AsyncGenerator<Result, void>,
): AsyncGenerator<Result> {
  type Begun = { readonly steps: AsyncGenerator<Result, void>; readonly first: Promise<IteratorResult<Result, void>> }
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  const begun: Begun[] = []
  let exhausted = false
  try {
    for (;;) {
      while (!exhausted && begun.length < atOnce) {
        const next = await source.next()
        if (next.done === true) {
          exhausted = true
          break
        }
        const steps = work(next.value)
        const first = steps.next()
        first.catch(() => undefined) // Thrown again below, when it is its turn.
        begun.push({ steps, first })
      }
      const head = begun[0]
      if (head === undefined) return
      for (let step = await head.first; step.done !== true; step = await head.steps.next()) yield step.value
      begun.shift()
    }
  } finally {
    await Promise.allSettled([...begun.map(({ steps }) => steps.return(undefined)), source.return?.()])
  }
}
