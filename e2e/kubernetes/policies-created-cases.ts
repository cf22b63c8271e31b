/** All tables of what the admission policies refuse of a pod that is created, in the order in which they are tried. */
import type { Rule } from './policies-cases.ts'
import { environmentRules } from './policies-environment-cases.ts'
import { nodeRules } from './policies-node-cases.ts'
import { podRules } from './policies-pod-cases.ts'
import { sidecarRules } from './policies-sidecar-cases.ts'
import { volumeRules } from './policies-volume-cases.ts'

export const createdRules: readonly Rule[] = [...sidecarRules, ...environmentRules, ...volumeRules, ...podRules, ...nodeRules]
