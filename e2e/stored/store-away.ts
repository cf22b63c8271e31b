/** Takes a proxy's store away and brings it back. */
import { rename, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunningProxy } from '../support/proxy.ts'

const lookMilliseconds = 10

type Folder = Pick<RunningProxy, 'storeFolder'>

/** From now on every put fails. */
export async function takeStoreAway({ storeFolder }: Folder): Promise<void> {
  await rename(storeFolder, `${storeFolder}-away`)
  await writeFile(storeFolder, '') // A file in the folder's place refuses everything, to root too.
}

export async function bringStoreBack({ storeFolder }: Folder): Promise<void> {
  await rm(storeFolder)
  await rename(`${storeFolder}-away`, storeFolder)
}

/** Waits until the proxy's log has a line that fits for the `times`th time. */
export async function untilLogged(proxy: RunningProxy, text: string, { times = 1 } = {}): Promise<void> {
  while (proxy.log().split(text).length <= times) await sleep(lookMilliseconds)
}

/** Waits until the store refused what is recorded at this moment, and was asked again. */
export async function untilRefused(proxy: RunningProxy): Promise<void> {
  const refused = 'the store did not take a recording'
  await untilLogged(proxy, refused, { times: proxy.log().split(refused).length + 1 })
}
