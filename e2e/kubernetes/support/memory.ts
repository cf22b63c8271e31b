/** What a container's processes have in memory, as the node's kernel says. Works where the test sees the node's processes (`node.ts`). */
import { globSync, readFileSync } from 'node:fs'
import { processesOf } from './node.ts'

export type ContainerMemory = {
  /** The processes' own pages: heap, stacks, buffers. */
  readonly ownBytes: number
  /** Pages of the program and its libraries, which all containers of the image on a node share. */
  readonly programBytes: number
  /** The most that was ever resident, own pages and the program's. */
  readonly peakBytes: number
  /** What the kubelet holds against the request and the limit: the control group's usage without file pages that can be dropped at once. */
  readonly workingSetBytes: number
}

export async function memoryOf(namespace: string, pod: string, container: string): Promise<ContainerMemory> {
  const processes = await processesOf(namespace, pod, container)
  if (processes.length === 0) throw new Error(`no process of container ${container} of pod ${pod}`)
  const sum = (field: string): number =>
    processes.reduce((bytes, pid) => bytes + 1024 * kibibytes(readFileSync(`/proc/${pid}/status`, 'utf8'), field), 0)
  return {
    ownBytes: sum('RssAnon'),
    programBytes: sum('RssFile'),
    peakBytes: sum('VmHWM'),
    workingSetBytes: workingSetOf(readFileSync(`/proc/${processes[0]}/cgroup`, 'utf8')),
  }
}

/** By the kubelet's rule: usage less inactive file pages. Version 1 of control groups has a hierarchy for memory, version 2 one for all. */
function workingSetOf(cgroup: string): number {
  const id = /[0-9a-f]{64}/.exec(cgroup)?.[0] ?? 'none'
  const [file] = globSync([`/sys/fs/cgroup/memory/**/*${id}*/memory.usage_in_bytes`, `/sys/fs/cgroup/**/*${id}*/memory.current`])
  if (file === undefined) throw new Error(`no memory control group of ${id}`)
  const stat = readFileSync(file.replace(/memory\.[a-z_]+$/, 'memory.stat'), 'utf8')
  const inactive = /^total_inactive_file (\d+)$/m.exec(stat)?.[1] ?? /^inactive_file (\d+)$/m.exec(stat)?.[1]
  return Number(readFileSync(file, 'utf8')) - Number(inactive ?? 0)
}

function kibibytes(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN)
}
