import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { buildDeb, type DebOptions, inputsHash } from '../../packaging/deb.ts'
import { must } from './command.ts'
import type { Host } from './host.ts'
import { cached, shortHash } from './paths.ts'

/** Address of the package repository on the loopback of a host that has had addRepository(). */
export const repositoryUrl = 'http://127.0.0.1:7080'

const sourcesFile = '/etc/apt/sources.list.d/comfy-machine.sources'
const repositoryFolder = '/srv/comfy-apt'

/** Builds the package from the sources as they are now, once per state of the sources; returns the .deb in the cache folder. */
export async function testDeb(options: DebOptions = {}): Promise<string> {
  const folder = await cached(`deb/${(await inputsHash(options)).slice(0, 16)}`, async (partial) => {
    await buildDeb({ ...options, out: partial })
  })
  return (await must(['sh', '-c', 'ls "$1"/*.deb', 'sh', folder])).trim()
}

/** A signed repository of the packages in a folder (dists, pool, comfy-machine.asc), made once per list of packages. */
export async function makeRepository(debs: readonly string[]): Promise<string> {
  const key = await signingKey()
  return await cached(`repository/${shortHash(...debs)}`, async (folder) => {
    await mkdir(path.join(folder, 'conf'))
    await withKey(key, async (home) => {
      const listed = await must(['gpg', '--homedir', home, '--list-keys', '--with-colons'])
      const fingerprint = listed.match(/^fpr:+([0-9A-F]+):/m)?.[1]
      await writeFile(
        path.join(folder, 'conf/distributions'),
        `Codename: stable\nComponents: main\nArchitectures: amd64 arm64\nSignWith: ${fingerprint}\n`,
      )
      const env = { PATH: process.env['PATH'] ?? '', GNUPGHOME: home }
      await must(['reprepro', '--silent', '--basedir', folder, 'includedeb', 'stable', ...debs], { env })
    })
    await cp(path.join(key, 'comfy-machine.asc'), path.join(folder, 'comfy-machine.asc'))
  })
}

async function signingKey(): Promise<string> {
  return await cached('signing-key', async (folder) => {
    await withKey(folder, async (home) => {
      const gpg = ['gpg', '--homedir', home, '--batch', '--quiet']
      await must([...gpg, '--passphrase', '', '--quick-generate-key', 'comfy-machine test', 'ed25519', 'sign', 'never'])
      await writeFile(path.join(folder, 'comfy-machine.asc'), await must([...gpg, '--armor', '--export']))
      await copyKey(home, folder)
    })
  })
}

/** Calls `use` with a copy of a key ring in a place short enough for the sockets of gpg-agent, which is ended afterwards. */
async function withKey(folder: string, use: (home: string) => Promise<void>): Promise<void> {
  const home = await mkdtemp(path.join(tmpdir(), 'gpg-'))
  try {
    await copyKey(folder, home)
    await use(home)
  } finally {
    await must(['gpgconf', '--homedir', home, '--kill', 'all'])
    await rm(home, { recursive: true, force: true })
  }
}

async function copyKey(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, filter: (name) => !path.basename(name).startsWith('S.') })
  await chmod(to, 0o700)
}

/** Serves a repository on the host's loopback and tells apt about it, as the product's README tells a user to. */
export async function addRepository(host: Host, repository: string): Promise<void> {
  await serveRepository(host, repository)
  await host.write('/etc/apt/keyrings/comfy-machine.asc', await readFile(path.join(repository, 'comfy-machine.asc')))
  await host.write(
    sourcesFile,
    `Types: deb\nURIs: ${repositoryUrl}\nSuites: stable\nComponents: main\nSigned-By: /etc/apt/keyrings/comfy-machine.asc\n`,
  )
}

/** Serves a repository on the host's loopback at `repositoryUrl`; apt is not told. */
export async function serveRepository(host: Host, repository: string): Promise<void> {
  await host.must(['rm', '-rf', repositoryFolder])
  for (const part of ['dists', 'pool']) await host.copyIn(path.join(repository, part), `${repositoryFolder}/${part}`)
  await host.write(`${repositoryFolder}/comfy-machine.asc`, await readFile(path.join(repository, 'comfy-machine.asc')))
  await host.write(
    '/etc/systemd/system/test-apt.service',
    `[Service]\nType=exec\nExecStart=/usr/bin/python3 -m http.server 7080 --bind 127.0.0.1 --directory ${repositoryFolder}\nStandardError=null\n`,
  )
  await host.must('systemctl daemon-reload && systemctl restart test-apt.service')
  await host.must(
    'for i in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:7080/ && exit 0; sleep 0.05; done; exit 1',
  )
}

/** Takes away what addRepository() put on the host. */
export async function removeRepository(host: Host): Promise<void> {
  await host.must('systemctl stop test-apt.service')
  await host.must([
    'rm',
    '-rf',
    repositoryFolder,
    sourcesFile,
    '/etc/apt/keyrings/comfy-machine.asc',
    '/etc/systemd/system/test-apt.service',
  ])
}

/** `apt-get update` of the added repository alone and `apt-get install comfy-machine`, of a version if given; returns apt's output. */
export async function installPackage(host: Host, version?: string): Promise<string> {
  const only = [
    '-o',
    `Dir::Etc::sourcelist=${sourcesFile}`,
    '-o',
    'Dir::Etc::sourceparts=-',
    '-o',
    'APT::Get::List-Cleanup=0',
  ]
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await host.must(['apt-get', 'update', '-q', ...only], { env })
  const wanted = version === undefined ? 'comfy-machine' : `comfy-machine=${version}`
  return await host.must(['apt-get', 'install', '-y', '-q', '--no-install-recommends', wanted], { env })
}
