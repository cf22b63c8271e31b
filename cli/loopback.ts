/** Whether only this machine reaches an address to listen on. A name other than localhost counts as open: it may mean anything. */
export function isLoopback(host: string): boolean {
  return host === '::1' || host === 'localhost' || host.startsWith('127.')
}
