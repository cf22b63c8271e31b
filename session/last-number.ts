/** The last of things that are numbered from 1 without a hole, found by asking whether single ones exist. */

/**
 * 0 where there is none. Looks from `from` on, which is known to exist or not taken for it, and asks for about twice the logarithm of what
 * comes behind it. @throws what `exists` throws
 */
export async function findLastNumber(exists: (number: number) => Promise<boolean>, from = 0): Promise<number> {
  let known = from > 0 && (await exists(from)) ? from : 0
  let step = 1
  while (await exists(known + step)) {
    known += step
    step *= 2
  }
  for (let missing = known + step; missing - known > 1;) {
    const middle = known + Math.floor((missing - known) / 2)
    if (await exists(middle)) known = middle
    else missing = middle
  }
  return known
}
