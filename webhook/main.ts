/** What runs in the cluster beside the sidecars: the webhook (admission and reconcile), and control. */
export { startControl } from './start-control.ts'
export { startWebhook, type Webhook } from './start-webhook.ts'
export * from '../cluster/process-settings.ts'
export * from './settings.ts'
