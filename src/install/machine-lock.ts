import type { WantedModel, WantedNode } from './components.ts'

/**
 * `machine.lock.json`: what a generation is made of, so exactly that another host makes the same one of it without asking
 * the component API and without resolving anything.
 */
export interface MachineLock {
  readonly schema: 1
  /** Id of the generation: a hash of everything below but models, classes of nodes and what was left out. */
  readonly generation: string
  /** sha256 of the wish that was resolved: the same wish needs no new generation. */
  readonly wish: string
  readonly comfyui: LockedSource
  readonly python: LockedPython
  /** In the order of installation. */
  readonly nodes: readonly LockedNode[]
  /** Pinned requirements with hashes, as `pip install --require-hashes -r` takes them. */
  readonly requirements: string
  readonly models: readonly WantedModel[]
  /** Wanted nodes that were left out, COMPONENT_FAILURE_POLICY=degraded only. */
  readonly leftOut: readonly LeftOutNode[]
}

/** Where ComfyUI comes from, resolved to a commit. */
export interface LockedSource {
  readonly repoUrl: string
  /** COMFYUI_REF as written; null for the latest release. */
  readonly ref: string | null
  /** The tag, branch or commit that was chosen. */
  readonly resolved: string
  readonly commit: string
}

/** The interpreter and the program that resolved the requirements. */
export interface LockedPython {
  /** Real path, e.g. `/usr/bin/python3.13`. */
  readonly interpreter: string
  /** e.g. `3.13`. */
  readonly version: string
  /** e.g. `x86_64`. */
  readonly machine: string
  readonly installer: 'uv' | 'pip'
  /** See TORCH_BACKEND; null when the package indexes decide. */
  readonly torchBackend: string | null
}

/** A custom node at a commit. */
export interface LockedNode extends WantedNode {
  readonly commit: string
  /** The commit was asked for; else it is what the branch, or the remote's HEAD, was at when it was locked. */
  readonly pinned: boolean
}

/** A wanted node that is not in the generation, and why. */
export interface LeftOutNode {
  readonly name: string
  readonly code: string
  readonly message: string
}
