import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { must, type Result, run } from './command.ts'
import { bootHost, type Host } from './host.ts'
import { fixturesLayer } from './installed.ts'
import { projectRoot } from './paths.ts'

/** Variables of a play by name. */
export type Variables = Readonly<Record<string, unknown>>

/** Hosts without the package that this machine reaches by ssh, with a key of their own. */
export interface Fleet {
  readonly hosts: readonly Host[]
  /** Runs ansible-playbook on a playbook of ansible/playbooks with further arguments; --extra-vars are the variables. */
  play(playbook: string, variables: Variables, options?: readonly string[]): Promise<Result>
  /** Ends the hosts and the connections to them. */
  stop(): Promise<void>
}

/** Boots hosts named one, two, … in the inventory group comfy_machines. */
export async function bootFleet(names: readonly string[]): Promise<Fleet> {
  const layers = [await fixturesLayer()]
  const folder = await mkdtemp(path.join(tmpdir(), 'fleet-'))
  const key = path.join(folder, 'key')
  await must(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', key])
  const hosts: Host[] = []
  try {
    hosts.push(...(await Promise.all(names.map((name) => bootHost({ name, layers, network: true })))))
    const publicKey = await readFile(`${key}.pub`)
    await Promise.all(hosts.map((host) => openDoor(host, publicKey)))
    await writeFile(path.join(folder, 'inventory.json'), inventory(names, hosts, key))
  } catch (error) {
    await Promise.all(hosts.map((host) => host.stop()))
    throw error
  }
  return {
    hosts,
    play: (playbook, variables, options = []) => play(folder, playbook, variables, options),
    stop: async () => {
      await Promise.all(hosts.map((host) => leave(host, folder)))
      await Promise.all(hosts.map((host) => host.stop()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** The key of this test opens ssh; what apt knows of the outside, which the host cannot reach, goes away. */
async function openDoor(host: Host, publicKey: Uint8Array): Promise<void> {
  await host.write('/root/.ssh/authorized_keys', publicKey, '0600')
  await host.must('rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; systemctl start ssh.service')
}

function inventory(names: readonly string[], hosts: readonly Host[], key: string): string {
  const addresses = hosts.map(({ address }, index) => [names[index], { ansible_host: address }])
  const vars = {
    ansible_user: 'root',
    ansible_ssh_private_key_file: key,
    ansible_python_interpreter: '/usr/bin/python3',
  }
  return JSON.stringify({ comfy_machines: { hosts: Object.fromEntries(addresses), vars } })
}

function sshArguments(folder: string): readonly string[] {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ControlMaster=auto']
  return [...options, 'ControlPersist=60', `ControlPath=${folder}/%h`].flatMap((option) => ['-o', option])
}

async function play(
  folder: string,
  playbook: string,
  variables: Variables,
  options: readonly string[],
): Promise<Result> {
  const program = process.env['ANSIBLE_PLAYBOOK'] ?? 'ansible-playbook'
  const inputs = ['-i', path.join(folder, 'inventory.json'), '--extra-vars', JSON.stringify(variables)]
  const file = path.join(projectRoot, 'ansible/playbooks', playbook)
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
    ANSIBLE_SSH_ARGS: sshArguments(folder).join(' '),
    ANSIBLE_PIPELINING: '1',
    ANSIBLE_NOCOLOR: '1',
    ANSIBLE_RETRY_FILES_ENABLED: '0',
  }
  return await run([program, ...inputs, ...options, file], { env, cwd: folder, timeoutMs: 280_000 })
}

async function leave(host: Host, folder: string): Promise<void> {
  await run(['ssh', ...sshArguments(folder), '-O', 'exit', `root@${host.address}`])
}
