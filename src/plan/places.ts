import path from 'node:path'

/** Where the installation of a machine lies below its workspace; everything that knows a path of it asks here. */
export interface Places {
  /** `comfyui`: pointers, generations, what was resolved. */
  readonly home: string
  /** Whole and half-made generations, one directory each, named by their id. */
  readonly generations: string
  /** Checkouts that are not yet a generation. */
  readonly staging: string
  /** The pointer to the generation that the machine is on. */
  readonly current: string
  /** The pointer to a generation that is being built, or that is to become current. */
  readonly next: string
  /** What the controller knows of generations: which proved themselves, which were sent back and why. */
  readonly rollout: string
  /** `.env` files of custom nodes, out of reach of install scripts. */
  readonly nodeEnv: string
}

/** The places of a workspace. */
export function placesOf(workspace: string): Places {
  const home = path.join(workspace, 'comfyui')
  return {
    home,
    generations: path.join(home, 'generations'),
    staging: path.join(home, 'generations', '.staging'),
    current: path.join(home, 'current'),
    next: path.join(home, 'next'),
    rollout: path.join(home, 'rollout.json'),
    nodeEnv: path.join(workspace, 'node-env'),
  }
}

/** The pointer to the generation that the ComfyUI of a GPU runs; changed only while that ComfyUI is down. */
export function pointerOf(workspace: string, gpu: string): string {
  return path.join(placesOf(workspace).home, gpu)
}

/** What a pointer holds: the path of a generation relative to `comfyui`. */
export function pointerTo(generation: string): string {
  return path.join('generations', generation)
}

/** Where the evidence of the ComfyUI of a GPU is kept, one file per generation. */
export function evidenceDirectory(workspace: string, gpu: string): string {
  return path.join(workspace, 'instances', gpu, 'evidence')
}

/** Name of the lock file in a generation. */
export const LOCK_FILE = 'machine.lock.json'

/** Name of the index of verified models in the workspace. */
export const MODEL_INDEX = 'models.json'

/** Name of the marker file of a whole generation, written last. */
export const COMPLETE_FILE = '.complete'

/** Where models lie by their content, below the models folder. An exported set, and what a mirror serves, has the same layout. */
export interface StorePlaces {
  /** `.store` in the models folder. ComfyUI does not look there. */
  readonly root: string
  /** `blobs/sha256/<hex>`: whole, verified, read-only files. */
  readonly blobs: string
  /** Downloads that are not whole. */
  readonly partial: string
  /** Whoever changes the store holds this file (flock(2)). */
  readonly lock: string
}

/** Where the content of a sha256 lies in a store, and below every mirror and peer: `blobs/sha256/<hex>`. */
export function blobPath(sha256: string): string {
  return path.join('blobs', 'sha256', sha256)
}

/** The store of a models folder. */
export function storeOf(models: string): StorePlaces {
  const root = path.join(models, '.store')
  return {
    root,
    blobs: path.join(root, 'blobs', 'sha256'),
    partial: path.join(root, 'partial'),
    lock: path.join(root, 'lock'),
  }
}
