/**
 * What happens to containers behind Kubernetes' back: processes that die, memory that runs out. Works where the test sees the node's
 * processes, as on the cluster of `e2e/cluster`; elsewhere `seesTheNode` is false and such tests say so.
 */
import { existsSync, globSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { podOf } from './shop.ts'

/** True where a pod's processes are in this machine's /proc. */
export const seesTheNode = existsSync('/run/containerd') && process.getuid?.() === 0

/** Without the runtime's name before it. @throws Error when the container has not started */
async function containerId(namespace: string, pod: string, container: string): Promise<string> {
  const { status } = await podOf(namespace, pod)
  const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])] as { name: string; containerID?: string }[]
  const id = all.find(({ name }) => name === container)?.containerID?.split('//')[1]
  if (id === undefined) throw new Error(`container ${container} has no id`)
  return id
}

/** The container's processes, oldest first. */
export async function processesOf(namespace: string, pod: string, container: string): Promise<number[]> {
  const id = await containerId(namespace, pod, container)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => readIfThere(`/proc/${pid}/cgroup`).includes(id))
    .map(Number)
    .sort((one, other) => one - other)
}

export async function killContainer(namespace: string, pod: string, container: string): Promise<void> {
  for (const pid of await processesOf(namespace, pod, container)) process.kill(pid, 'SIGKILL')
}

/** Every process of the pod, its sandbox too, whether or not the API server still knows of it. */
export function podProcesses(podUid: string): number[] {
  const uid = [podUid, podUid.replaceAll('-', '_')]
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const cgroup = readIfThere(`/proc/${pid}/cgroup`)
      return uid.some((part) => cgroup.includes(part))
    })
    .map(Number)
}

/** Every process of the pod at once, its sandbox too, as when its node loses power and comes back. */
export async function killPod(namespace: string, pod: string): Promise<void> {
  const { metadata } = await podOf(namespace, pod)
  for (const pid of podProcesses(metadata.uid)) process.kill(pid, 'SIGKILL')
}

/** Lowers the container's memory limit to `bytes` while it runs. */
export async function limitMemory(namespace: string, pod: string, container: string, bytes: number): Promise<void> {
  const id = await containerId(namespace, pod, container)
  const [file] = globSync([`/sys/fs/cgroup/memory/**/*${id}*/memory.limit_in_bytes`, `/sys/fs/cgroup/**/*${id}*/memory.max`])
  if (file === undefined) throw new Error(`no memory limit of ${id}`)
  writeFileSync(file, String(bytes))
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // The process ended while we looked.
  }
}
