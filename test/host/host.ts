import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import path from 'node:path'
import { ended, must, type Result, type RunOptions, run } from './command.ts'
import { setUp } from './setup.ts'

export interface HostOptions {
  /** Host name, unique on this machine by an added suffix; default `host`. Letters, digits and hyphens. */
  name?: string
  /** Folders laid over the base root file system, uppermost first; nobody writes to them. Default none. */
  layers?: readonly string[]
  /** true: an Ethernet device with an address that this machine reaches and nothing beyond it; false: loopback only. Default false. */
  network?: boolean
}

/** A booted throw-away Debian with systemd as PID 1; gone, with all it wrote, after stop() or with the process that booted it. */
export interface Host {
  readonly name: string
  /** Address this machine reaches it at, and this machine's address on that link; null without `network`. */
  readonly address: string | null
  readonly gateway: string | null
  /** PID of the host's systemd as this machine sees it; /proc/<pid>/root is its root file system. */
  readonly leaderPid: number
  /** Runs a program, or a line of bash, as root inside; a failing one is a result, not an exception. */
  exec(command: string | readonly string[], options?: RunOptions): Promise<Result>
  /** As exec, but anything else than exit code 0 throws with the output; returns standard output. */
  must(command: string | readonly string[], options?: RunOptions): Promise<string>
  /** Text of a file inside; throws when it cannot be read. */
  read(file: string): Promise<string>
  /** Writes a file inside with its folders; mode as for chmod, default 0644. */
  write(file: string, content: string | Uint8Array, mode?: string): Promise<void>
  /** Copies a folder of this machine into a folder inside, contents into contents; owners become root. */
  copyIn(from: string, to: string): Promise<void>
  /** Copies what was written on top of the layers into a folder of this machine. */
  saveChanges(folder: string): Promise<void>
  /** Ends the host like a pulled plug; resolves when nothing of it is left. May be called again. */
  stop(): Promise<void>
}

const path_ = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const hostsRoot = path.join(tmpdir(), 'comfy-machine-hosts')
const cgroupRoot = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '/sys/fs/cgroup' : '/sys/fs/cgroup/unified'

// Mounts live in a mount namespace of the host's own and vanish with its last process. The watcher in the background
// reads the pipe from the process that boots the host and pulls the plug when that one is gone, whatever it died of.
const bootScript = `
set -eu
exec 3<&0 0</dev/null
(
  trap '' INT TERM HUP
  cat <&3 >/dev/null
  read self rest </proc/self/stat
  if [ "$(cat /proc/$$/comm 2>/dev/null)" = systemd-nspawn ]; then
    for pid in $(cat /proc/$$/task/$$/children); do [ "$pid" = "$self" ] || kill -KILL "$pid" || :; done
    kill -KILL $$ || :
  fi
  sleep 0.3
  find "$CGROUP" -depth -type d -exec rmdir {} + || :
  umount --lazy --recursive "$FOLDER" || :
  rmdir "$FOLDER" || :
) >/dev/null 2>&1 &
mkdir -p "$CGROUP"
echo $$ > "$CGROUP/cgroup.procs"
mount -t tmpfs -o mode=0755 comfy-host "$FOLDER"
mkdir "$FOLDER/upper" "$FOLDER/work" "$FOLDER/root"
mount -t overlay -o "lowerdir=$LOWER,upperdir=$FOLDER/upper,workdir=$FOLDER/work" comfy-host "$FOLDER/root"
net=--private-network
if [ -n "$DEVICE" ]; then
  mkdir -p /run/netns
  mount -t tmpfs comfy-netns /run/netns
  ip netns add host
  ip link add "$DEVICE" type veth peer name host0 netns host
  ip addr add "$GATEWAY/30" dev "$DEVICE"
  ip link set "$DEVICE" up
  ip -n host addr add "$ADDRESS/30" dev host0
  ip -n host link set lo up
  ip -n host link set host0 up
  net=--network-namespace-path=/run/netns/host
fi
exec systemd-nspawn --quiet --boot $KEEP_UNIT --register=no --directory="$FOLDER/root" --machine="$NAME" --uuid="$UUID" \\
  --console=pipe --link-journal=no --resolv-conf=off --timezone=off "$net" 3<&-
`

/** Boots a throw-away Debian and returns when its systemd has finished starting (`running`, or `degraded` by a unit that failed). */
export async function bootHost(options: HostOptions = {}): Promise<Host> {
  const base = await setUp()
  removeStaleHosts()
  const id = randomBytes(3).toString('hex')
  const name = `${options.name ?? 'host'}-${id}`
  const folder = path.join(hostsRoot, `${process.pid}-${id}`)
  const cgroup = path.join(cgroupRoot, `comfy-host-${process.pid}-${id}`)
  const link = options.network ? freeLink() : null
  await mkdir(folder, { recursive: true })
  const systemdOutside = existsSync('/run/systemd/system')
  const child = spawn('unshare', ['--mount', '/bin/sh', '-c', bootScript], {
    // A session of its own: Ctrl-C reaches this process, which decides.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: path_,
      SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1',
      CGROUP: cgroup,
      FOLDER: folder,
      LOWER: [...(options.layers ?? []), base].join(':'),
      NAME: name,
      UUID: randomUUID(),
      KEEP_UNIT: systemdOutside ? '' : '--keep-unit',
      DEVICE: link === null ? '' : `cm${id}`,
      ADDRESS: link?.address ?? '',
      GATEWAY: link?.gateway ?? '',
    },
  })
  const console_: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => console_.push(chunk.toString('utf8')))
  }
  const stop = async (): Promise<void> => {
    const leader = leaderOf(child)
    if (leader !== null) kill(leader)
    if (!(await ended(child, 5_000))) child.kill('SIGKILL')
    await ended(child, 5_000)
    process.removeListener('exit', stopNow)
    child.stdin.destroy()
    await removeLeftovers(folder, cgroup)
  }
  const stopNow = (): void => {
    child.stdin.destroy()
  }
  process.once('exit', stopNow)
  try {
    const leaderPid = await started(child, console_)
    return {
      name,
      address: link?.address ?? null,
      gateway: link?.gateway ?? null,
      leaderPid,
      stop,
      ...inside(leaderPid, child, folder),
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function inside(
  leaderPid: number,
  child: ChildProcess,
  folder: string,
): Pick<Host, 'exec' | 'must' | 'read' | 'write' | 'copyIn' | 'saveChanges'> {
  const exec: Host['exec'] = async (command, options = {}) => await enter(leaderPid, command, options)
  const must_: Host['must'] = async (command, options) => {
    const result = await exec(command, options)
    if (result.code === 0) return result.stdout
    const line = typeof command === 'string' ? command : command.join(' ')
    throw new Error(`in the host: ${line} ended with code ${result.code}\n${result.stdout}${result.stderr}`)
  }
  return {
    exec,
    must: must_,
    read: async (file) => await must_(['cat', '--', file]),
    write: async (file, content, mode = '0644') => {
      const script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1" && chmod -- "$2" "$1"'
      await must_(['sh', '-c', script, 'sh', file, mode], { input: content })
    },
    copyIn: async (from, to) => {
      await must_(['mkdir', '-p', '--', to])
      const script =
        'tar -C "$1" --owner=0 --group=0 -cf - . | nsenter --target "$2" --mount -- tar -C "$3" --no-overwrite-dir --keep-directory-symlink -xf -'
      await must(['sh', '-c', script, 'sh', from, String(leaderPid), to])
    },
    saveChanges: async (target) => {
      await must(['nsenter', '--target', String(child.pid), '--mount', '--', 'cp', '-a', `${folder}/upper/.`, target])
    },
  }
}

async function enter(leaderPid: number, command: string | readonly string[], options: RunOptions): Promise<Result> {
  const timeoutMs = options.timeoutMs ?? 120_000
  const argv = typeof command === 'string' ? ['/bin/bash', '-c', command] : command
  const deadline = ['timeout', '--kill-after=1', String(timeoutMs / 1000)]
  const env = { PATH: path_, HOME: '/root', LANG: 'C.UTF-8', TERM: 'dumb', SYSTEMD_PAGER: '', ...options.env }
  return await run(['nsenter', '--target', String(leaderPid), '--all', '--', ...deadline, ...argv], {
    ...options,
    timeoutMs: timeoutMs + 5_000,
    env,
  })
}

async function started(child: ChildProcess, console_: readonly string[]): Promise<number> {
  const until = Date.now() + 60_000
  const told = (): string => console_.join('').slice(-4_000)
  while (Date.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the test host ended while booting\n${told()}`)
    const leader = leaderOf(child)
    if (leader !== null && existsSync(`/proc/${leader}/root/run/systemd/private`)) {
      const state = await enter(leader, ['systemctl', 'is-system-running', '--wait'], { timeoutMs: 60_000 })
      if (/^(running|degraded)$/m.test(state.stdout)) return leader
    }
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  throw new Error(`the test host did not finish booting within 60 s\n${told()}`)
}

/** PID of the child that is PID 1 of a PID namespace, or null when there is none (yet). */
function leaderOf(child: ChildProcess): number | null {
  if (child.pid === undefined) return null
  const children = readOrEmpty(`/proc/${child.pid}/task/${child.pid}/children`).split(' ').filter(Boolean)
  const leader = children.find((pid) => /^NSpid:\t\d+\t1$/m.test(readOrEmpty(`/proc/${pid}/status`)))
  return leader === undefined ? null : Number(leader)
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** A /30 of 10.213.0.0/16 that no interface of this machine has. */
function freeLink(): { gateway: string; address: string } {
  const taken = new Set(
    Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address)),
  )
  for (;;) {
    const [third = 0, fourth = 0] = randomBytes(2)
    const gateway = `10.213.${third}.${(fourth & 0xfc) + 1}`
    if (!taken.has(gateway)) return { gateway, address: `10.213.${third}.${(fourth & 0xfc) + 2}` }
  }
}

async function removeLeftovers(folder: string, cgroup: string): Promise<void> {
  for (let tries = 0; tries < 50; tries += 1) {
    if (removeCgroup(cgroup)) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  rmSync(folder, { recursive: true, force: true })
}

/** Removes a control group with all below it; false while a process is still in one of them. */
function removeCgroup(cgroup: string): boolean {
  if (!existsSync(cgroup)) return true
  const below = readdirSync(cgroup).filter((name) => statSync(path.join(cgroup, name)).isDirectory())
  if (!below.every((name) => removeCgroup(path.join(cgroup, name)))) return false
  try {
    rmdirSync(cgroup)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false
    throw error
  }
}

/** Removes the empty folders and control groups of hosts whose owner has died; their mounts went with them. */
export function removeStaleHosts(): void {
  const dead = (name: string): boolean => {
    const owner = /(?:^|-)(\d+)-[0-9a-f]{6}$/.exec(name)?.[1]
    return owner !== undefined && !existsSync(`/proc/${owner}`)
  }
  for (const name of existsSync(hostsRoot) ? readdirSync(hostsRoot).filter(dead) : []) {
    rmSync(path.join(hostsRoot, name), { recursive: true, force: true })
  }
  for (const name of readdirSync(cgroupRoot).filter((entry) => entry.startsWith('comfy-host-') && dead(entry))) {
    removeCgroup(path.join(cgroupRoot, name))
  }
}
