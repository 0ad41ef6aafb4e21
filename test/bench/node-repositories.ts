import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Raised whenever the same arguments would give other repositories. */
const EDITION = 5
const FILES = 70
const PICTURES = 3
const PICTURE_BYTES = 110 * 1024
const LINES = 240
const CHANGED_FILES = 3
const CHANGED_LINES = 3
const ADDED_LINES = 4
/** Requirements that the nodes have, two thirds of them each. */
export const PACKAGES = [
  'numpy>=1.26',
  'pillow',
  'opencv-python-headless',
  'scipy',
  'tqdm',
  'requests',
  'einops',
  'pyyaml',
]

const WORDS =
  `image mask latent model clip vae strength width height batch samples noise seed steps sampler scheduler denoise torch tensor device
dtype shape channels resize crop blend upscale interpolate conditioning prompt weight token text encode decode load save path folder config
value index count total result output inputs returns node class function size scale factor offset frame video audio mesh depth normal pose
control hint preprocess detect segment face hand region area tile overlap feather blur sharpen invert threshold`.split(
    /\s+/,
  )

/**
 * Directory with `count` bare repositories `node-NN.git` like those of custom nodes: about 2 MB packed, 40 to 60 commits, some 70 source
 * files and three pictures whose older versions are in the history, requirement files that overlap. Made once, kept below the
 * temporary directory under a name that tells what is in it.
 */
export function makeNodeRepositories(count: number): string {
  const root = path.join(tmpdir(), `comfy-machine-bench-nodes-${EDITION}-${count}`)
  if (existsSync(root)) return root
  const fresh = `${root}.new`
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh)
  for (let index = 0; index < count; index += 1) makeRepository(path.join(fresh, nodeName(index)), index)
  renameSync(fresh, root)
  return root
}

/** Name of the repository with a number. */
export function nodeName(index: number): string {
  return `node-${String(index).padStart(2, '0')}.git`
}

function makeRepository(repository: string, seed: number): void {
  const git = (args: readonly string[], input?: Uint8Array): void => {
    const env = { PATH: process.env['PATH'], GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null' }
    const { status, stderr } = spawnSync('git', args, { env, ...(input === undefined ? {} : { input }) })
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
  }
  git(['init', '--quiet', '--bare', '--initial-branch=main', repository])
  git(['-C', repository, 'fast-import', '--quiet'], history(seed))
  git(['-C', repository, 'repack', '-adfq'])
}

/** The history as git-fast-import(1) reads it. */
function history(seed: number): Uint8Array {
  const random = randomOf(seed)
  const pieces: (string | Uint8Array)[] = []
  const write = (name: string, content: string | Uint8Array): void => {
    pieces.push(`M 100644 inline ${name}\ndata ${content.length}\n`, content, '\n')
  }
  const sources = Array.from({ length: FILES }, () => Array.from({ length: LINES }, () => codeLine(random)))
  const commits = 40 + (seed % 21)
  for (let commit = 0; commit < commits; commit += 1) {
    const message = `change ${commit}`
    pieces.push(
      `commit refs/heads/main\ncommitter Fixture <fixture@localhost> ${1_700_000_000 + commit * 3600} +0000\n`,
    )
    pieces.push(`data ${message.length}\n${message}\n`)
    if (commit === 0) {
      write('__init__.py', 'NODE_CLASS_MAPPINGS = {}\n')
      write('requirements.txt', `${PACKAGES.filter((_, at) => (at + seed) % 3 !== 0).join('\n')}\n`)
      for (const [file, lines] of sources.entries()) write(`nodes/part_${file}.py`, lines.join('\n'))
    }
    for (let change = 0; change < CHANGED_FILES; change += 1) {
      const file = Math.floor(random() * FILES)
      const lines = sources[file] ?? []
      for (let line = 0; line < CHANGED_LINES; line += 1) lines[Math.floor(random() * LINES)] = codeLine(random)
      for (let line = 0; line < ADDED_LINES; line += 1) lines.splice(Math.floor(random() * LINES), 0, codeLine(random))
      write(`nodes/part_${file}.py`, lines.join('\n'))
    }
    if (commit % 10 !== 0) continue
    for (let at = 0; at < PICTURES; at += 1) write(`examples/${at}.png`, noise(random, PICTURE_BYTES))
  }
  return Buffer.concat(pieces.map((piece) => Buffer.from(piece)))
}

/** Words that no other line repeats in the same order, as in code of people. */
function codeLine(random: () => number): string {
  const word = (): string => WORDS[Math.floor(random() * WORDS.length)] ?? ''
  const indent = '    '.repeat(1 + Math.floor(random() * 3))
  return `${indent}${word()}_${word()} = ${word()}.${word()}(${word()}, ${word()}=${Math.floor(random() * 100)})`
}

function noise(random: () => number, bytes: number): Uint8Array {
  const parts: Uint8Array[] = []
  for (let length = 0; length < bytes; length += 32) parts.push(createHash('sha256').update(String(random())).digest())
  return Buffer.concat(parts).subarray(0, bytes)
}

/** mulberry32: the same numbers for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed + 1
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296
  }
}
