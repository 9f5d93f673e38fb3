/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Members of a template's key that all templates have alike: those of the KEY_… that the policy asks for, and that the manifest names
 * in `key_fields` without more words. Included inside `struct NAME(key)`, in front of the template's own members.
 */
#ifdef KEY_src
struct ip_addr src;
#endif
#ifdef KEY_dst
struct ip_addr dst;
#endif
#ifdef KEY_src_net
struct ip_addr src_net;
#endif
#ifdef KEY_dst_net
struct ip_addr dst_net;
#endif
#ifdef KEY_sport
__be16 sport;
#endif
#ifdef KEY_dport
__be16 dport;
#endif
#ifdef KEY_vlan
__u16 vlan;
#endif
#ifdef KEY_ifindex
if_index ifindex;
#endif
#ifdef KEY_tunnel_id
__u32 tunnel_id;
#endif
#ifdef KEY_tunnel
enum tunnel tunnel;
#endif
#ifdef KEY_direction
enum direction direction;
#endif
#ifdef KEY_proto
ip_proto proto;
#endif
#ifdef KEY_tos
__u8 tos;
#endif
