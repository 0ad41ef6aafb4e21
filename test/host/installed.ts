import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { addRepository, installPackage, makeRepository, removeRepository, testDeb } from './apt-repo.ts'
import { must } from './command.ts'
import { bootHost, type Host, type HostOptions } from './host.ts'
import { cached, cacheRoot, projectRoot, shortHash } from './paths.ts'
import { setUp } from './setup.ts'

interface Fixtures {
  installFixtures(rootFolder: string): Promise<void>
  fixtureUnits: readonly string[]
}

const fixturesModule = path.join(projectRoot, 'test/fixtures/install.ts')

/**
 * A layer over the base root file system in which apt has installed the package and the fixtures are enabled, with
 * redis-server, and comfy-machine waits for its test to start it; made once per state of the sources and of the fixtures. $COMFY_TEST_LAYER names one that is made already.
 */
export async function installedLayer(): Promise<string> {
  const made = process.env['COMFY_TEST_LAYER']
  if (made !== undefined) return made
  await setUp()
  const deb = await testDeb()
  const key = shortHash(
    deb,
    await fixturesHash(),
    await readFile(import.meta.filename),
    await readFile(path.join(import.meta.dirname, 'setup.ts')),
  )
  const layer = await cached(`installed/${key}`, async (folder) => {
    const host = await bootHost({ name: 'install' })
    try {
      await addRepository(host, await makeRepository([deb]))
      await installPackage(host)
      await removeRepository(host)
      await host.must(
        'apt-get clean && systemctl enable redis-server.service && systemctl disable comfy-machine.service',
      )
      await addFixtures(host)
      await host.must('journalctl --sync; sync')
      await host.saveChanges(folder)
    } finally {
      await host.stop()
    }
    await forgetIdentity(folder)
  })
  await prune()
  return layer
}

/** A layer in which the fixtures and redis-server are enabled and the package is not installed; made once per state of the fixtures. */
export async function fixturesLayer(): Promise<string> {
  await setUp()
  const key = shortHash(await fixturesHash(), await readFile(path.join(import.meta.dirname, 'setup.ts')))
  return await cached(`fixtures/${key}`, async (folder) => {
    const host = await bootHost({ name: 'fixtures' })
    try {
      await host.must('systemctl enable redis-server.service')
      await addFixtures(host)
      await host.must('journalctl --sync; sync')
      await host.saveChanges(folder)
    } finally {
      await host.stop()
    }
    await forgetIdentity(folder)
  })
}

/** Removes from a layer what belongs to one host and not to the next. */
async function forgetIdentity(folder: string): Promise<void> {
  await must([
    'sh',
    '-ec',
    'cd "$1"; rm -rf var/log/journal/* var/lib/systemd/random-seed tmp/* var/tmp/*; : > etc/machine-id',
    'sh',
    folder,
  ])
}

/** Boots a host in which the package is installed and the fixtures run. */
export async function bootInstalledHost(options: Omit<HostOptions, 'layers'> = {}): Promise<Host> {
  return await bootHost({ ...options, layers: [await installedLayer()] })
}

async function addFixtures(host: Host): Promise<void> {
  if (!existsSync(fixturesModule)) return
  const fixtures = (await import(fixturesModule)) as Fixtures
  const folder = await mkdtemp(path.join(tmpdir(), 'comfy-machine-fixtures-'))
  try {
    await chmod(folder, 0o755)
    await fixtures.installFixtures(folder)
    await host.copyIn(folder, '/')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  await host.must(['systemctl', 'daemon-reload'])
  if (fixtures.fixtureUnits.length > 0) await host.must(['systemctl', 'enable', ...fixtures.fixtureUnits])
}

async function fixturesHash(): Promise<string> {
  const folder = path.join(projectRoot, 'test/fixtures')
  if (!existsSync(folder)) return ''
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && !entry.parentPath.includes('__pycache__'))
  const names = files.map((entry) => path.join(entry.parentPath, entry.name)).sort()
  const parts = await Promise.all(names.map(async (name) => [path.relative(folder, name), await readFile(name)]))
  return shortHash(...parts.flat())
}

/** Removes packages, repositories and layers that no run has used for two days. */
async function prune(): Promise<void> {
  const limit = Date.now() - 2 * 24 * 3600 * 1000
  for (const kind of ['deb', 'repository', 'installed', 'fixtures']) {
    const folder = path.join(cacheRoot, kind)
    if (!existsSync(folder)) continue
    for (const name of await readdir(folder)) {
      const entry = path.join(folder, name)
      if ((await stat(entry)).mtimeMs < limit) await rm(entry, { recursive: true, force: true })
    }
  }
}
