import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { has, must, run } from './command.ts'
import { cached, shortHash } from './paths.ts'
import { missingRequirement } from './requirements.ts'

/** Program that tells whether the package is there → Debian package. */
const tools: Readonly<Record<string, string>> = {
  mmdebstrap: 'mmdebstrap',
  'systemd-nspawn': 'systemd-container',
  dh: 'debhelper',
  'dpkg-buildpackage': 'dpkg-dev',
  fakeroot: 'fakeroot',
  reprepro: 'reprepro',
  gpg: 'gnupg',
  strip: 'binutils',
  ip: 'iproute2',
  nsenter: 'util-linux',
  git: 'git',
  python3: 'python3',
  'ansible-playbook': 'ansible-core',
  ssh: 'openssh-client',
}

/** What the throw-away host has besides systemd: what the package depends on, and the services that tests talk to. */
const basePackages = [
  'systemd',
  'systemd-sysv',
  'dbus',
  'libpam-systemd',
  'udev',
  'python3',
  'python3-venv',
  'python3-pip',
  'python3-apt',
  'git',
  'redis-server',
  'openssh-server',
  'ca-certificates',
  'curl',
  'iproute2',
  'procps',
  'less',
  'polkitd',
]

const release = 'trixie'

/** Commands run in the finished tree ($1): identity is per host, nothing but the bare system starts by itself. */
const customize = `
set -e
: > "$1/etc/machine-id"
rm -f "$1/etc/hostname" "$1/var/lib/dbus/machine-id" "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
mkdir -p "$1/var/log/journal" "$1/etc/systemd/journald.conf.d" "$1/etc/systemd/system.conf.d"
printf 'force-unsafe-io\\n' > "$1/etc/dpkg/dpkg.cfg.d/throw-away"
printf '[Journal]\\nStorage=persistent\\nRateLimitIntervalSec=0\\n' > "$1/etc/systemd/journald.conf.d/test.conf"
for unit in redis-server.service ssh.service ssh.socket sshd.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \\
  e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer systemd-networkd.service networking.service; do
  chroot "$1" systemctl disable "$unit" >/dev/null 2>&1 || :
done
for unit in systemd-udevd.service systemd-udev-trigger.service getty.target console-getty.service systemd-timesyncd.service \\
  systemd-firstboot.service systemd-resolved.service; do
  chroot "$1" systemctl mask "$unit" >/dev/null 2>&1
done
`

/** Debian packages that host tests need on this machine and that are not there. */
function missingTools(): string[] {
  const missing = Object.entries(tools)
    .filter(([program]) => !has(program))
    .map(([, name]) => name)
  if (!existsSync('/usr/share/keyrings/debian-archive-keyring.gpg')) missing.push('debian-archive-keyring')
  return missing
}

/** Installs the Debian packages that host tests need, when some are missing; needs root and apt. */
async function installTools(): Promise<void> {
  const missing = missingTools()
  if (missing.length === 0) return
  process.stderr.write(`installing what host tests need: ${missing.join(' ')}\n`)
  const env = { ...environment(), DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing]
  const first = await run(install, { timeoutMs: 600_000, env })
  if (first.code === 0) return
  await must(['apt-get', 'update'], { timeoutMs: 300_000, env })
  await must(install, { timeoutMs: 600_000, env })
}

/** Makes the root file system of the throw-away host, once per list of packages; returns its folder, which nobody writes to. */
async function baseLayer(): Promise<string> {
  const key = shortHash(release, basePackages.join(' '), customize)
  return await cached(`base-${release}-${key}`, async (folder) => {
    process.stderr.write(`making the root file system of the test host (Debian ${release}), once; takes about 30 s\n`)
    const hook = path.join(path.dirname(folder), `customize-${key}.sh`)
    await writeFile(hook, customize)
    await mkdir(folder, { recursive: true })
    await must(
      [
        'mmdebstrap',
        '--mode=root',
        '--variant=minbase',
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        '--dpkgopt=force-unsafe-io',
        '--dpkgopt=path-exclude=/usr/share/man/*',
        '--dpkgopt=path-exclude=/usr/share/locale/*',
        '--dpkgopt=path-exclude=/usr/share/doc/*',
        '--keyring=/usr/share/keyrings/debian-archive-keyring.gpg',
        `--include=${basePackages.join(',')}`,
        `--customize-hook=/bin/sh ${hook} "$1"`,
        release,
        folder,
        ...(await mirror()),
      ],
      { timeoutMs: 900_000 },
    )
    await rm(hook)
  })
}

/** Address of a Debian archive: COMFY_TEST_MIRROR, else what this machine's apt uses when it is a Debian; none for mmdebstrap's own choice. */
async function mirror(): Promise<readonly string[]> {
  const chosen = process.env['COMFY_TEST_MIRROR']
  if (chosen) return [chosen]
  if (!/^ID=debian$/m.test(await readFile('/etc/os-release', 'utf8'))) return []
  const folder = '/etc/apt/sources.list.d'
  const files = ['/etc/apt/sources.list', ...(await readdir(folder)).map((name) => path.join(folder, name))]
  for (const file of files.filter((name) => existsSync(name))) {
    const address = (await readFile(file, 'utf8')).match(
      /^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?:\/\/\S+\/debian\/?)(?:\s|$)/m,
    )
    if (address?.[1] !== undefined) return [address[1]]
  }
  return []
}

function environment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}

/** Everything a host needs before the first boot: requirements, tools and the root file system. Throws one sentence. */
export async function setUp(): Promise<string> {
  const missing = missingRequirement()
  if (missing !== null) throw new Error(missing)
  await installTools()
  return await baseLayer()
}

if (import.meta.main) {
  const missing = missingRequirement()
  if (missing !== null) {
    process.stderr.write(`${missing}\n`)
    process.exit(1)
  }
  process.stdout.write(`${await setUp()}\n`)
}
