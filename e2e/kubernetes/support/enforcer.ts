/**
 * The program that enforces NetworkPolicies on the cluster of `e2e/cluster`: ended, halted, taken out of the packets' way, and put back.
 *
 * It is a process on the node with chains in iptables, which stay in force without it. Every other cluster has another, of which nothing is known
 * here: `findEnforcer` gives null there.
 */
import { spawn } from 'node:child_process'
import { openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { eventually, ran } from './kubectl.ts'

const chain = 'STENO-NETPOL'

export type Enforcer = {
  pid(): number
  /** Ends it; its rules stay. */
  kill(): void
  /** Starts it as it was started before. */
  startAgain(): void
  /** Halts it and takes its rules out of the way of packets between pods: from now on nothing is enforced. */
  openTheWay(): Promise<void>
  /** Lets it go on; it puts its rules in force again by itself. Returns when they are. */
  closeTheWay(): Promise<void>
}

/** Null where this process does not see one. */
export function findEnforcer(): Enforcer | null {
  let pid = processOf()
  if (pid === null) return null
  const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  const environment = Object.fromEntries(
    readFileSync(`/proc/${pid}/environ`, 'utf8')
      .split('\0')
      .flatMap((text) => (text.includes('=') ? [[text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]] : [])),
  )
  const executable = readlinkSync(`/proc/${pid}/exe`)
  const output = readlinkSync(`/proc/${pid}/fd/1`)
  return {
    pid: () => pid!,
    kill: () => void process.kill(pid!, 'SIGKILL'),
    startAgain() {
      const log = output.startsWith('/') ? openSync(output, 'a') : ('ignore' as const)
      const child = spawn(executable, args, { argv0: program, env: environment, detached: true, stdio: ['ignore', log, log] })
      child.unref()
      pid = child.pid!
    },
    async openTheWay() {
      process.kill(pid!, 'SIGSTOP')
      const { code, stderr } = await ran('iptables', ['-w', '-D', 'FORWARD', '-j', chain])
      if (code !== 0) throw new Error(`iptables: ${stderr}`)
    },
    async closeTheWay() {
      process.kill(pid!, 'SIGCONT')
      await eventually('the rules are in force again', async () =>
        (await ran('iptables', ['-w', '-S', 'FORWARD', '1'])).stdout.includes(chain) ? true : null,
      )
    },
  }
}

function processOf(): number | null {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      if (args[1] === 'netpol' && args.some((arg) => arg.startsWith('-socket='))) return Number(pid)
    } catch {
      // It ended while we looked.
    }
  }
  return null
}
